#!/usr/bin/env python3
"""Measures a tpuplan run on an Edge TPU: measure.py [RUN.json] > samples.jsonl

RUN.json (default: standard input) is an object of schema tpuplan/run/v1; each
call it wants becomes one line of schema tpuplan/sample/v1 on standard output,
flushed at once. Nothing but the standard library is needed. The runtime is the
first of these that is there: pycoral, tflite_runtime, ai_edge_litert, else
libtensorflowlite_c and libedgetpu through ctypes. --backend NAME picks one.

TPUPLAN_LIBEDGETPU and TPUPLAN_LIBTENSORFLOWLITE name the libraries if they lie
in no usual place.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a call passed its deadline.
"""

import argparse
import ctypes
import ctypes.util
import hashlib
import importlib
import json
import os
import sys
import threading
import time

RUN_SCHEMA = "tpuplan/run/v1"
SAMPLE_SCHEMA = "tpuplan/sample/v1"
SIMULATED = "tpuplan-simulated"  # how a stand-in's edgetpu_version() begins
MASK = (1 << 64) - 1


class Failure(Exception):
    """A message for the user; the hint says what to do."""

    def __init__(self, message, hint=""):
        Exception.__init__(self, message)
        self.hint = hint


def say(kind, message):
    sys.stderr.write("tpuplan: %s: %s\n" % (kind, message))
    sys.stderr.flush()


# --- what a run gives each model as its inputs


def fill(state, size):
    """size bytes of splitmix64, least significant byte first."""
    words = bytearray()
    state &= MASK
    while len(words) < size:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        word = state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        word ^= word >> 31
        words += word.to_bytes(8, "little")
    return bytes(words[:size])


def input_bytes(seed, model, tensor, size):
    return fill(seed + (model << 16) + tensor, size)


# --- backends: each opens one device and makes interpreters that stay open
#
# A backend has version (of libedgetpu, None if it cannot be told) and
# interpreter(path), whose result has inputs (sizes in bytes), set_input(i,
# data), invoke() and output(i) with outputs, their number.


def edgetpu_library():
    """Opens libedgetpu itself."""
    named = os.environ.get("TPUPLAN_LIBEDGETPU")
    names = [named] if named else ["libedgetpu.so.1", "libedgetpu.so.1.0", "libedgetpu.so", "libedgetpu.1.dylib", "edgetpu.dll"]
    found = None if named else ctypes.util.find_library("edgetpu")
    reasons = []
    for name in names + ([found] if found else []):
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL), name
        except OSError as error:
            reasons.append(str(error))
    raise Failure("libedgetpu cannot be loaded: %s" % reasons[0], "install the Edge TPU runtime, or name the library in TPUPLAN_LIBEDGETPU")


class DeviceList(object):
    """libedgetpu's C functions about devices (edgetpu_c.h)."""

    class Device(ctypes.Structure):
        _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]

    KINDS = {0: "pci", 1: "usb"}
    FUNCTIONS = ("edgetpu_list_devices", "edgetpu_free_devices", "edgetpu_create_delegate", "edgetpu_free_delegate", "edgetpu_version")

    def __init__(self, library, name):
        missing = [f for f in self.FUNCTIONS if not hasattr(library, f)]
        version = "none"
        if "edgetpu_version" not in missing:
            library.edgetpu_version.restype = ctypes.c_char_p
            version = (library.edgetpu_version() or b"").decode("utf-8", "replace")
        if missing:
            raise Failure(
                "%s has no %s: its version is %r, the C interface of libedgetpu 1.0 is wanted" % (name, missing[0], version),
                "install libedgetpu1-std or libedgetpu1-max")
        self.library, self.version = library, version
        library.edgetpu_list_devices.restype = ctypes.POINTER(self.Device)
        library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
        library.edgetpu_free_devices.argtypes = [ctypes.POINTER(self.Device)]
        library.edgetpu_free_devices.restype = None
        library.edgetpu_create_delegate.restype = ctypes.c_void_p
        library.edgetpu_create_delegate.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
        library.edgetpu_free_delegate.argtypes = [ctypes.c_void_p]
        library.edgetpu_free_delegate.restype = None

    def all(self):
        count = ctypes.c_size_t(0)
        devices = self.library.edgetpu_list_devices(ctypes.byref(count))
        found = [(devices[i].type, devices[i].path) for i in range(count.value)]
        if devices:
            self.library.edgetpu_free_devices(devices)
        return found

    def pick(self, wanted):
        """The device that a run names: a path, an index, "" for the first.
        Only a listed one is ever opened: looking for an absent path takes the
        runtime 25 seconds."""
        found = self.all()
        if not found:
            raise Failure("no Edge TPU is connected", "check the cable and the udev rules (lsusb, ls /dev/apex_*)")
        paths = [path.decode("utf-8", "replace") for _, path in found]
        if wanted == "":
            return found[0], 0
        if wanted in paths:
            return found[paths.index(wanted)], paths.index(wanted)
        if wanted.isdigit() and int(wanted) < len(found):
            return found[int(wanted)], int(wanted)
        raise Failure("there is no device %r" % wanted, "the devices are: %s" % ", ".join("%d %s" % pair for pair in enumerate(paths)))


class CtypesInterpreter(object):
    def __init__(self, backend, path):
        self.lite, self.path = backend.lite, path
        lite = self.lite
        self.model = lite.TfLiteModelCreateFromFile(os.fsencode(path))
        if not self.model:
            raise Failure("%s: not a model that this TensorFlow Lite reads" % path)
        options = lite.TfLiteInterpreterOptionsCreate()
        lite.TfLiteInterpreterOptionsSetNumThreads(options, 1)
        lite.TfLiteInterpreterOptionsAddDelegate(options, backend.delegate)
        self.handle = lite.TfLiteInterpreterCreate(self.model, options)
        lite.TfLiteInterpreterOptionsDelete(options)
        if not self.handle:
            raise Failure("%s: no interpreter can be made" % path, "was the file compiled for an Edge TPU, by a compiler that this runtime knows?")
        self.check(lite.TfLiteInterpreterAllocateTensors(self.handle), "its tensors cannot be allocated")
        self.tensors = [lite.TfLiteInterpreterGetInputTensor(self.handle, i) for i in range(lite.TfLiteInterpreterGetInputTensorCount(self.handle))]
        self.inputs = [lite.TfLiteTensorByteSize(t) for t in self.tensors]
        self.outputs = lite.TfLiteInterpreterGetOutputTensorCount(self.handle)

    def check(self, status, what):
        if status != 0:
            raise Failure("%s: %s (status %d)" % (self.path, what, status))

    def set_input(self, i, data):
        self.check(self.lite.TfLiteTensorCopyFromBuffer(self.tensors[i], data, len(data)), "an input is refused")

    def invoke(self):
        self.check(self.lite.TfLiteInterpreterInvoke(self.handle), "the call failed: was the device unplugged?")

    def output(self, i):
        tensor = self.lite.TfLiteInterpreterGetOutputTensor(self.handle, i)
        data = ctypes.create_string_buffer(self.lite.TfLiteTensorByteSize(tensor))
        self.check(self.lite.TfLiteTensorCopyToBuffer(tensor, data, len(data)), "an output cannot be read")
        return data.raw


class CtypesBackend(object):
    name = "ctypes"

    def __init__(self, device):
        named = os.environ.get("TPUPLAN_LIBTENSORFLOWLITE")
        try:
            self.lite = ctypes.CDLL(named or ctypes.util.find_library("tensorflowlite_c") or "libtensorflowlite_c.so")
        except OSError as error:
            raise Failure("libtensorflowlite_c cannot be loaded: %s" % error, "name the library in TPUPLAN_LIBTENSORFLOWLITE, or install tflite_runtime or ai_edge_litert")
        self.declare()
        self.devices = DeviceList(*edgetpu_library())
        self.version = self.devices.version
        (kind, path), _ = self.devices.pick(device)
        self.device = path.decode("utf-8", "replace")
        self.delegate = self.devices.library.edgetpu_create_delegate(kind, path, None, 0)
        if not self.delegate:
            raise Failure("%s cannot be opened" % self.device, "is another process using it, and may this user open it?")

    def declare(self):
        pointer, number = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("TfLiteModelCreateFromFile", pointer, [ctypes.c_char_p]),
            ("TfLiteInterpreterOptionsCreate", pointer, []),
            ("TfLiteInterpreterOptionsSetNumThreads", None, [pointer, number]),
            ("TfLiteInterpreterOptionsAddDelegate", None, [pointer, pointer]),
            ("TfLiteInterpreterOptionsDelete", None, [pointer]),
            ("TfLiteInterpreterCreate", pointer, [pointer, pointer]),
            ("TfLiteInterpreterAllocateTensors", number, [pointer]),
            ("TfLiteInterpreterInvoke", number, [pointer]),
            ("TfLiteInterpreterGetInputTensorCount", number, [pointer]),
            ("TfLiteInterpreterGetInputTensor", pointer, [pointer, number]),
            ("TfLiteInterpreterGetOutputTensorCount", number, [pointer]),
            ("TfLiteInterpreterGetOutputTensor", pointer, [pointer, number]),
            ("TfLiteTensorByteSize", ctypes.c_size_t, [pointer]),
            ("TfLiteTensorCopyFromBuffer", number, [pointer, ctypes.c_char_p, ctypes.c_size_t]),
            ("TfLiteTensorCopyToBuffer", number, [pointer, pointer, ctypes.c_size_t]),
        ):
            if not hasattr(self.lite, name):
                raise Failure("libtensorflowlite_c has no %s: it is not TensorFlow Lite's C library" % name)
            function = getattr(self.lite, name)
            function.restype, function.argtypes = result, arguments

    def interpreter(self, path):
        return CtypesInterpreter(self, path)


class ModuleInterpreter(object):
    """An interpreter of a Python package: they all have TensorFlow's class."""

    def __init__(self, interpreter):
        self.wrapped = interpreter
        interpreter.allocate_tensors()
        self.details = interpreter.get_input_details()
        self.results = interpreter.get_output_details()
        self.inputs = [len(bytes(self.view(d))) for d in self.details]
        self.outputs = len(self.results)

    def view(self, detail):
        return memoryview(self.wrapped.tensor(detail["index"])()).cast("B")

    def set_input(self, i, data):
        self.view(self.details[i])[:] = data

    def invoke(self):
        self.wrapped.invoke()

    def output(self, i):
        return bytes(self.view(self.results[i]))


class ModuleBackend(object):
    """pycoral, tflite_runtime or ai_edge_litert."""

    def __init__(self, name, device):
        self.name = name
        library, path = edgetpu_library()
        self.devices = DeviceList(library, path)
        self.version = self.devices.version
        (_, chosen), _ = self.devices.pick(device)
        self.device = chosen.decode("utf-8", "replace")
        options = {"device": self.device}
        if name == "pycoral":
            self.module = importlib.import_module("tflite_runtime.interpreter")
            importlib.import_module("pycoral.utils.edgetpu")
        else:
            self.module = importlib.import_module(name + ".interpreter")
        try:
            self.delegate = self.module.load_delegate(path, options)
        except (ValueError, RuntimeError, OSError) as error:
            raise Failure("%s cannot be opened: %s" % (self.device, error), "is another process using it, and may this user open it?")

    def interpreter(self, path):
        try:
            return ModuleInterpreter(self.module.Interpreter(model_path=path, experimental_delegates=[self.delegate], num_threads=1))
        except (ValueError, RuntimeError) as error:
            raise Failure("%s: no interpreter can be made: %s" % (path, error), "was the file compiled for an Edge TPU?")


MODULES = ("pycoral", "tflite_runtime", "ai_edge_litert")


def open_backend(name, device):
    for module in MODULES:
        if name not in ("", module):
            continue
        try:
            importlib.import_module(module)
            return ModuleBackend(module, device)
        except ImportError as error:
            if name:
                raise Failure("%s cannot be imported: %s" % (module, error))
    return CtypesBackend(device)


# --- the run


class Watchdog(object):
    """Ends the process when a call takes longer than its deadline: a silent
    device blocks for ever, and the call cannot be interrupted."""

    def __init__(self, seconds):
        self.seconds, self.what, self.due = seconds, "", None
        self.condition = threading.Condition()
        thread = threading.Thread(target=self.watch)
        thread.daemon = True
        thread.start()

    def watch(self):
        with self.condition:
            while True:
                if self.due is None:
                    self.condition.wait()
                    continue
                left = self.due - time.monotonic()
                if left > 0:
                    self.condition.wait(left)
                    continue
                say("error", "%s took longer than %g ms: the device does not answer" % (self.what, self.seconds * 1000))
                say("hint", "unplug the device and plug it in again, or reset the board")
                os._exit(3)

    def guard(self, what, function, *arguments):
        with self.condition:
            self.what, self.due = what, time.monotonic() + self.seconds
            self.condition.notify()
        try:
            return function(*arguments)
        finally:
            with self.condition:
                self.due = None


def read_run(path):
    try:
        if path in ("", "-"):
            run, folder = json.load(sys.stdin), "."
        else:
            with open(path) as f:
                run = json.load(f)
            folder = os.path.dirname(path) or "."
    except (OSError, ValueError) as error:
        raise Failure("%s: not a run: %s" % (path or "standard input", error))
    if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
        raise Failure("%s: not a run of schema %s" % (path or "standard input", RUN_SCHEMA))
    return run, folder


def verified(model, folder):
    path = os.path.join(folder, *model["file"].split("/"))
    if model["file"].startswith("/"):
        path = model["file"]
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as f:
            for block in iter(lambda: f.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise Failure("model %s: %s" % (model["name"], error))
    if model.get("sha256") and digest.hexdigest() != model["sha256"]:
        raise Failure("model %s: %s is not the file that the run is about" % (model["name"], path), "copy the file again")
    return path


def sensors(device):
    """Temperature and clock where the driver tells them: PCIe devices only."""
    found = {}
    base = os.path.basename(device)
    for field, name in (("temperature_c", "temp"), ("clock_mhz", "clock")):
        try:
            with open("/sys/class/apex/%s/%s" % (base, name)) as f:
                value = float(f.read())
            found[field] = value / 1000 if field == "temperature_c" else value / 1e6
        except (OSError, ValueError):
            pass
    return found


def measure(run, folder, backend_name, out):
    paths = [verified(model, folder) for model in run["models"]]
    dog = Watchdog(run["deadline_ms"] / 1000.0)
    backend = dog.guard("opening the device", open_backend, backend_name, run.get("device", ""))
    source = "simulated" if (backend.version or "").startswith(SIMULATED) else "measured"
    say("note", "%s, libedgetpu %s, device %s, %s" % (backend.name, backend.version, backend.device, source))

    def emit(model, kind, seconds, call, **more):
        sample = {
            "schema": SAMPLE_SCHEMA, "run": run.get("run", ""), "model": run["models"][model]["name"], "kind": kind,
            "ms": seconds * 1000, "device": backend.device, "source": source, "call": call,
        }
        sample.update(sensors(backend.device))
        sample.update(more)
        out.write(json.dumps(sample, sort_keys=True) + "\n")
        out.flush()

    interpreters = []
    for i, path in enumerate(paths):
        start = time.perf_counter()
        made = dog.guard("creating the interpreter of %s" % run["models"][i]["name"], backend.interpreter, path)
        took = time.perf_counter() - start
        for t, size in enumerate(made.inputs):
            made.set_input(t, input_bytes(run.get("seed", 0), i, t, size))
        interpreters.append(made)  # kept to the end: the runtime may take a new one for one that was deleted
        emit(i, "create", took, 0)
    call = 0
    for repeat in range(run.get("warm_up", 0) + run["repeats"]):
        for step in run["steps"]:
            i = step["model"]
            model = run["models"][i]
            start = time.perf_counter()
            dog.guard("call %d, of %s," % (call, model["name"]), interpreters[i].invoke)
            took = time.perf_counter() - start
            kind = step.get("kind")
            if kind and repeat >= run.get("warm_up", 0):
                more = {}
                sent = model.get({"steady": "warm_bytes", "squeezed": "warm_bytes", "first": "cold_bytes", "load": "cold_bytes"}.get(kind, ""))
                if sent is not None:
                    more["bytes"] = sent
                if run.get("outputs"):
                    digest = hashlib.sha256()
                    for t in range(interpreters[i].outputs):
                        digest.update(interpreters[i].output(t))
                    more["outputs_sha256"] = digest.hexdigest()
                emit(i, kind, took, call, **more)
            call += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", default="-", metavar="RUN.json")
    parser.add_argument("--backend", default="", choices=("",) + MODULES + ("ctypes",), metavar="NAME", help="pycoral, tflite_runtime, ai_edge_litert or ctypes")
    arguments = parser.parse_args()
    try:
        run, folder = read_run(arguments.run)
        measure(run, folder, arguments.backend, sys.stdout)
    except Failure as failure:
        say("error", failure)
        if failure.hint:
            say("hint", failure.hint)
        sys.stdout.flush()
        os._exit(1)
    except KeyError as error:
        say("error", "the run has no %s" % error)
        os._exit(1)
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(130)
    sys.stdout.flush()
    os._exit(0)  # nothing is deleted: that is what the runtime is worst at


if __name__ == "__main__":
    main()
