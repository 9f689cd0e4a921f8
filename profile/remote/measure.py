#!/usr/bin/env python3
"""Measures tpuplan's runs on an Edge TPU: measure.py [RUN.json] > samples.jsonl

RUN.json (default: standard input) holds objects of schema tpuplan/run/v1, one
after the other. What they want measured is written to standard output, a line
of schema tpuplan/sample/v1 each; everything else goes to standard error.
Nothing but Python's standard library is needed, from 3.5 on. The runtime is the
first of these that is there: pycoral, tflite_runtime, ai_edge_litert, else
libtensorflowlite_c through ctypes; --backend picks one. Model files are
looked for where the run says, relative to RUN.json, and then beside RUN.json.

TPUPLAN_LIBEDGETPU and TPUPLAN_LIBTENSORFLOWLITE name the libraries if they lie
in no usual place.

The measuring is done by a child process, which this program ends when the device
is silent. --events is that child: it does one run and prints lines of schema
tpuplan/event/v1 between the samples, for whoever watches over it.

Exit codes: 0 done, 1 failed, 2 wrong usage or no run, 130 interrupted.
"""

import sys

if sys.version_info < (3, 5):
    sys.exit("tpuplan: error: measure.py needs Python 3.5 or later, this is %s" % sys.version.split()[0])

import argparse
import collections
import ctypes
import ctypes.util
import hashlib
import importlib
import importlib.util
import json
import math
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import threading
import time

RUN_SCHEMA = "tpuplan/run/v1"
SAMPLE_SCHEMA = "tpuplan/sample/v1"
EVENT_SCHEMA = "tpuplan/event/v1"
SIMULATED = "tpuplan-simulated"  # how a stand-in's edgetpu_version() begins
MASK = (1 << 64) - 1

# libedgetpu gives up on opening a device after 25 s.
OPEN_SECONDS = 40.0


class Failure(Exception):
    """Why a run is not completed; codes are those of tpuplan/event/v1."""

    def __init__(self, code, text, hint="", model="", library="", runtime=""):
        Exception.__init__(self, text)
        self.code, self.text, self.hint, self.model = code, text, hint, model
        self.library, self.runtime = library, runtime

    def fields(self):
        pairs = (
            ("code", self.code), ("text", self.text), ("hint", self.hint), ("model", self.model),
            ("library_version", self.library), ("runtime_version", self.runtime),
        )
        return collections.OrderedDict((k, v) for k, v in pairs if v or k in ("code", "text"))


def tell(kind, message):
    sys.stderr.write("tpuplan: %s: %s\n" % (kind, message))
    sys.stderr.flush()


# --- runs


def whole(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


CALL_KINDS = ("first", "steady", "load", "squeezed", "replay")


def check_run(run):
    """Returns a run with what it may leave out, or raises Failure."""

    def bad(text):
        return Failure("bad_run", "the run: " + text)

    if not isinstance(run, dict) or run.get("schema") != RUN_SCHEMA:
        raise bad("not a run: its schema is not %s" % RUN_SCHEMA)
    run = dict(run)
    for key, default in (("run", ""), ("device", ""), ("warm_up", 0), ("seed", 0), ("outputs", False)):
        run.setdefault(key, default)
    models, steps = run.get("models"), run.get("steps")
    if not isinstance(models, list) or not 1 <= len(models) <= 256:
        raise bad("it has no models, or more than 256")
    names = set()
    for m in models:
        if not isinstance(m, dict) or not all(isinstance(m.get(k, ""), str) for k in ("name", "file", "sha256")):
            raise bad("a model is no model")
        if not m.get("name") or m["name"] in names or not m.get("file"):
            raise bad("a model has no name, no file, or the name of another one")
        names.add(m["name"])
    if not isinstance(steps, list) or not 1 <= len(steps) <= 1 << 20:
        raise bad("it has no calls, or too many")
    for n, s in enumerate(steps):
        if not isinstance(s, dict) or not whole(s.get("model"), 0, len(models) - 1):
            raise bad("call %d is of no model" % (n + 1))
        if s.get("kind", "") not in ("",) + CALL_KINDS:
            raise bad("call %d is to be a sample of kind %r" % (n + 1, s["kind"]))
    if not whole(run.get("repeats"), 1, 1 << 30) or not whole(run["warm_up"], 0, 1 << 30) or len(steps) * (run["repeats"] + run["warm_up"]) > 1 << 30:
        raise bad("its repeats are impossible")
    if not number(run.get("deadline_ms")) or run["deadline_ms"] <= 0:
        raise bad("a deadline of %r ms" % run.get("deadline_ms"))
    if not isinstance(run["run"], str) or not isinstance(run["device"], str) or not whole(run["seed"], 0, MASK):
        raise bad("its name, device or seed is of another type")
    return run


def read_runs(path):
    """The runs of a file or of standard input, and the folder of their models."""
    name = path if path != "-" else "standard input"
    try:
        if path == "-":
            text, folder = sys.stdin.read(), "."
        else:
            with open(path, encoding="utf-8") as f:
                text = f.read()
            folder = os.path.dirname(path) or "."
        runs, decoder, at = [], json.JSONDecoder(), 0
        while True:
            at = re.compile(r"\s*").match(text, at).end()
            if at == len(text):
                break
            run, at = decoder.raw_decode(text, at)
            runs.append(run)
    except (OSError, ValueError) as error:
        raise Failure("bad_run", "%s: not a run: %s" % (name, error))
    if not runs:
        raise Failure("bad_run", "%s: not a run: it is empty" % name)
    return runs, folder


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


# --- model files: enough of them to say what is wrong before a library that
# trusts them is given them


class Table(object):
    """A table of a flatbuffer. What lies outside raises struct.error."""

    def __init__(self, data, at):
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        if not 0 <= self.vtable < len(data):
            raise struct.error("a table without fields")
        self.size = struct.unpack_from("<H", data, self.vtable)[0]

    def field(self, n):
        at = 4 + 2 * n
        if at + 2 > self.size:
            return 0
        offset = struct.unpack_from("<H", self.data, self.vtable + at)[0]
        return self.at + offset if offset else 0

    def scalar(self, n, form, default=0):
        at = self.field(n)
        return struct.unpack_from("<" + form, self.data, at)[0] if at else default

    def follow(self, at):
        target = at + struct.unpack_from("<I", self.data, at)[0]
        if target + 4 > len(self.data):
            raise struct.error("an offset that leads out of the file")
        return target

    def vector(self, n, size):
        """Position of the first element, and their number."""
        at = self.field(n)
        if not at:
            return 0, 0
        at = self.follow(at)
        count = struct.unpack_from("<I", self.data, at)[0]
        if at + 4 + count * size > len(self.data):
            raise struct.error("a vector that is longer than the file")
        return at + 4, count

    def bytes(self, n):
        at, count = self.vector(n, 1)
        return self.data[at:at + count]

    def tables(self, n):
        at, count = self.vector(n, 4)
        return [Table(self.data, self.follow(at + 4 * i)) for i in range(count)]


def root(data):
    return Table(data, struct.unpack_from("<I", data, 0)[0])


# Numbers of fields in the public schema of TFLite files, and of packages.
MODEL_CODES, MODEL_SUBGRAPHS = 1, 2
SUBGRAPH_OPERATORS = 3
OPERATOR_CODE, OPERATOR_OPTIONS = 0, 5
CODE_CUSTOM = 1
PACKAGE_RUNTIME = 0


def needed_runtime(data, name):
    """The runtime version that a compiled model needs."""

    def bad(text, hint=""):
        return Failure("bad_model", "%s: %s" % (name, text), hint)

    if data[4:8] != b"TFL3":
        raise bad("not a TFLite file")
    try:
        model = root(data)
        codes = [code.bytes(CODE_CUSTOM) for code in model.tables(MODEL_CODES)]
        subgraphs = model.tables(MODEL_SUBGRAPHS)
        if not subgraphs:
            raise bad("a model without a graph")
        needed, found = 0, False
        for op in subgraphs[0].tables(SUBGRAPH_OPERATORS):
            code = op.scalar(OPERATOR_CODE, "I")
            if code >= len(codes):
                raise bad("an operator of no kind")
            if codes[code] != b"edgetpu-custom-op":
                continue
            options = op.bytes(OPERATOR_OPTIONS)
            at = options.find(b"DWN1")  # after the package's first four bytes
            if at < 4:
                raise bad("its Edge TPU operator holds no package")
            found, needed = True, max(needed, root(options[at - 4:]).scalar(PACKAGE_RUNTIME, "i"))
    except struct.error as error:
        raise bad("a damaged TFLite file (%s)" % error)
    if not found:
        raise bad("not a compiled model: it has no Edge TPU operator", "compile it with edgetpu_compiler first")
    return needed


def find_model(model, folder):
    path = os.path.join(*model["file"].split("/")) if model["file"][0] != "/" else model["file"]
    if folder != ".":
        path = os.path.join(folder, path)
    beside = os.path.join(folder, os.path.basename(path))
    return beside if not os.path.exists(path) and os.path.exists(beside) else path


def verified(model, folder, backend):
    """Path and hash of a model's file, once that is as it should be."""
    path = find_model(model, folder)
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as error:
        raise Failure("bad_model", "%s: %s" % (path, error.strerror or error))
    needs, has = needed_runtime(data, path), backend.devices.runtime()
    digest = hashlib.sha256(data).hexdigest()
    if model.get("sha256") and digest != model["sha256"]:
        raise Failure("bad_model", "%s is not the file that the run was made for" % path, "make the run anew, or copy the file again")
    if has and needs > has:
        raise Failure(
            "newer_model", "%s needs runtime version %d, %s has %d (%s)" % (path, needs, backend.devices.name, has, backend.devices.version),
            "install a newer libedgetpu, or compile with -m %d" % has)
    return path, digest


# --- libedgetpu: which devices there are


class Device(object):
    def __init__(self, kind, path):
        self.kind, self.raw = kind, path
        self.path = path.decode("utf-8", "replace")

    def __str__(self):
        return "%s (%s)" % (self.path, "USB" if self.kind == 1 else "PCIe")


class EdgeTPU(object):
    """libedgetpu's C functions about devices (edgetpu_c.h)."""

    class Struct(ctypes.Structure):
        _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]

    def __init__(self, runtime, delegates):
        self.load(runtime)
        self.version = ""
        needs = ("edgetpu_version", "edgetpu_list_devices", "edgetpu_free_devices") + delegates
        missing = [f for f in needs if not hasattr(self.library, f)]
        if "edgetpu_version" not in missing:
            self.library.edgetpu_version.restype = ctypes.c_char_p
            self.version = (self.library.edgetpu_version() or b"").decode("utf-8", "replace")
        if missing:
            raise Failure(
                "wrong_abi", "%s (%s) has no function %s, which TensorFlow Lite %s needs to reach the device" % (
                    self.name, self.version or "version unknown", missing[0], runtime or "here"),
                "install a libedgetpu that was made for this TensorFlow Lite, or name another one with TPUPLAN_LIBEDGETPU",
                library=self.version, runtime=runtime)
        self.library.edgetpu_list_devices.restype = ctypes.POINTER(self.Struct)
        self.library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
        self.library.edgetpu_free_devices.argtypes = [ctypes.POINTER(self.Struct)]
        self.library.edgetpu_free_devices.restype = None

    def load(self, runtime):
        names = ["libedgetpu.so.1", "libedgetpu.so.1.0", "libedgetpu.so"]
        if sys.platform == "darwin":
            names = ["libedgetpu.1.dylib", "libedgetpu.1.0.dylib"]
        elif sys.platform == "win32":
            names = ["edgetpu.dll"]
        if os.environ.get("TPUPLAN_LIBEDGETPU"):
            names = [os.environ["TPUPLAN_LIBEDGETPU"]]
        reasons = []
        for self.name in names:
            try:
                self.library = ctypes.CDLL(self.name)
                return
            except OSError as error:
                reasons.append(str(error))
        raise Failure(
            "no_library", "libedgetpu cannot be loaded: " + reasons[0],
            "install the Edge TPU runtime (libedgetpu1-std), or name the library with TPUPLAN_LIBEDGETPU", runtime=runtime)

    def runtime(self):
        """The version of the runtime that models are compiled for, 0 if it is not known."""
        match = re.search(r"RuntimeVersion\((\d+)\)", self.version)
        return int(match.group(1)) if match else 0

    def pick(self, wanted):
        """The device that a run names: the first, by path or by number. Only a
        listed one is ever opened: an absent one takes the library 25 seconds."""
        count = ctypes.c_size_t(0)
        first = self.library.edgetpu_list_devices(ctypes.byref(count))
        found = [Device(first[i].type, first[i].path) for i in range(count.value)] if first else []
        if first:
            self.library.edgetpu_free_devices(first)
        if not found:
            raise Failure(
                "no_device", "there is no Edge TPU",
                "lsusb shows 1a6e:089a or 18d1:9302 for one on USB, and /dev has apex_0 for one on PCIe")
        if wanted == "":
            return found[0]
        if re.match(r"[0-9]+\Z", wanted) and int(wanted) < len(found):
            return found[int(wanted)]
        for device in found:
            if device.path == wanted:
                return device
        raise Failure(
            "no_device", 'there is no Edge TPU "%s"' % wanted,
            "there are %s; a number counts them from 0" % ", ".join(str(d) for d in found))


def cannot_open(device, reason=""):
    return Failure(
        "device_busy", "%s cannot be opened%s" % (device, reason),
        "is another process using it? Users need the right to it: for PCIe membership of the group apex, "
        "for USB the udev rule of libedgetpu and membership of plugdev")


# --- backends
#
# A backend is a TensorFlow Lite. It has name, version and devices (EdgeTPU);
# open(device) opens one, interpreter(path) makes an interpreter on it, close()
# gives all of them back. An interpreter has inputs (sizes in bytes),
# set_input(i, data), invoke(), which returns what went wrong or "", outputs
# (their number) and output(i).


class CtypesInterpreter(object):
    def __init__(self, backend, path):
        self.backend = backend
        lite = self.lite = backend.lite
        self.handle = None
        self.model = lite.TfLiteModelCreateFromFile(os.fsencode(path))
        if not self.model:
            raise backend.bad(path, "cannot read it")
        options = lite.TfLiteInterpreterOptionsCreate()
        lite.TfLiteInterpreterOptionsSetNumThreads(options, 1)  # more than there are cores would be many times slower
        lite.TfLiteInterpreterOptionsAddDelegate(options, backend.delegate)
        self.handle = lite.TfLiteInterpreterCreate(self.model, options)
        lite.TfLiteInterpreterOptionsDelete(options)
        if not self.handle:
            raise backend.bad(path, "makes no interpreter of it for " + backend.devices.version)
        if lite.TfLiteInterpreterAllocateTensors(self.handle) != 0:
            raise backend.bad(path, "cannot allocate its tensors")
        self.tensors = [lite.TfLiteInterpreterGetInputTensor(self.handle, i) for i in range(lite.TfLiteInterpreterGetInputTensorCount(self.handle))]
        self.inputs = [lite.TfLiteTensorByteSize(t) for t in self.tensors]
        self.outputs = lite.TfLiteInterpreterGetOutputTensorCount(self.handle)

    def set_input(self, i, data):
        self.lite.TfLiteTensorCopyFromBuffer(self.tensors[i], data, len(data))

    def invoke(self):
        status = self.lite.TfLiteInterpreterInvoke(self.handle)
        return "ends with status %d" % status if status else ""

    def output(self, i):
        tensor = self.lite.TfLiteInterpreterGetOutputTensor(self.handle, i)
        size = self.lite.TfLiteTensorByteSize(tensor)
        data = ctypes.create_string_buffer(size)
        self.lite.TfLiteTensorCopyToBuffer(tensor, data, size)
        return data.raw


class CtypesBackend(object):
    name = "ctypes"

    FUNCTIONS = (
        ("TfLiteVersion", "s", ""),
        ("TfLiteModelCreateFromFile", "p", "s"),
        ("TfLiteModelDelete", "", "p"),
        ("TfLiteInterpreterOptionsCreate", "p", ""),
        ("TfLiteInterpreterOptionsSetNumThreads", "", "pi"),
        ("TfLiteInterpreterOptionsAddDelegate", "", "pp"),
        ("TfLiteInterpreterOptionsDelete", "", "p"),
        ("TfLiteInterpreterCreate", "p", "pp"),
        ("TfLiteInterpreterDelete", "", "p"),
        ("TfLiteInterpreterAllocateTensors", "i", "p"),
        ("TfLiteInterpreterInvoke", "i", "p"),
        ("TfLiteInterpreterGetInputTensorCount", "i", "p"),
        ("TfLiteInterpreterGetInputTensor", "p", "pi"),
        ("TfLiteInterpreterGetOutputTensorCount", "i", "p"),
        ("TfLiteInterpreterGetOutputTensor", "p", "pi"),
        ("TfLiteTensorByteSize", "n", "p"),
        ("TfLiteTensorCopyFromBuffer", "i", "psn"),
        ("TfLiteTensorCopyToBuffer", "i", "ppn"),
    )
    TYPES = {"p": ctypes.c_void_p, "s": ctypes.c_char_p, "i": ctypes.c_int, "n": ctypes.c_size_t, "": None}

    def __init__(self):
        named = os.environ.get("TPUPLAN_LIBTENSORFLOWLITE")
        name = named or ctypes.util.find_library("tensorflowlite_c") or "libtensorflowlite_c.so"
        hint = "install tflite_runtime or ai_edge_litert, or name a libtensorflowlite_c with TPUPLAN_LIBTENSORFLOWLITE"
        try:
            self.lite = ctypes.CDLL(name)
        except OSError as error:
            raise Failure("not_available", "there is no TensorFlow Lite: %s" % error, hint)
        for function, result, arguments in self.FUNCTIONS:
            if not hasattr(self.lite, function):
                raise Failure("not_available", "%s has no function %s: it is not TensorFlow Lite's C library" % (name, function), hint)
            f = getattr(self.lite, function)
            f.restype, f.argtypes = self.TYPES[result], [self.TYPES[a] for a in arguments]
        self.version = (self.lite.TfLiteVersion() or b"").decode("utf-8", "replace")
        self.devices = EdgeTPU(self.version, ("edgetpu_create_delegate", "edgetpu_free_delegate"))
        create, free = self.devices.library.edgetpu_create_delegate, self.devices.library.edgetpu_free_delegate
        create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
        free.restype, free.argtypes = None, [ctypes.c_void_p]
        self.made = []

    def bad(self, path, what):
        return Failure("bad_model", "%s: TensorFlow Lite %s %s" % (path, self.version, what))

    def open(self, device):
        self.delegate = self.devices.library.edgetpu_create_delegate(device.kind, device.raw, None, 0)
        if not self.delegate:
            raise cannot_open(device)

    def interpreter(self, path):
        i = CtypesInterpreter(self, path)
        self.made.append(i)
        return i

    def close(self):
        for i in self.made:
            self.lite.TfLiteInterpreterDelete(i.handle)
        self.devices.library.edgetpu_free_delegate(self.delegate)  # after all interpreters
        for i in self.made:
            self.lite.TfLiteModelDelete(i.model)


class ModuleInterpreter(object):
    """An interpreter of a Python package: they all have TensorFlow's class."""

    def __init__(self, interpreter):
        self.wrapped = interpreter
        interpreter.allocate_tensors()
        self.details = interpreter.get_input_details()
        self.results = interpreter.get_output_details()
        self.inputs = [memoryview(self.view(d)).nbytes for d in self.details]
        self.outputs = len(self.results)

    def view(self, detail):
        """A tensor's contents, in the runtime's memory. The class makes no
        calls while such views exist: none may be kept."""
        return self.wrapped.tensor(detail["index"])()

    def set_input(self, i, data):
        ctypes.memmove((ctypes.c_ubyte * len(data)).from_buffer(self.view(self.details[i])), data, len(data))

    def invoke(self):
        try:
            self.wrapped.invoke()
        except (RuntimeError, ValueError) as error:
            return "fails: %s" % error
        return ""

    def output(self, i):
        return memoryview(self.view(self.results[i])).tobytes()


class ModuleBackend(object):
    """pycoral, tflite_runtime or ai_edge_litert."""

    def __init__(self, name):
        self.name = name
        if name == "pycoral":  # it brings no interpreter of its own
            importlib.import_module("pycoral.utils.edgetpu")
            name = "tflite_runtime"
        self.module = importlib.import_module(name + ".interpreter")
        self.version = getattr(importlib.import_module(name), "__version__", "")
        self.devices = EdgeTPU(self.version, ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"))
        self.made = []

    def open(self, device):
        try:
            self.delegate = self.module.load_delegate(self.devices.name, {"device": device.path})
        except (ValueError, RuntimeError, OSError) as error:
            raise cannot_open(device, ": %s" % error if str(error) else "")

    def interpreter(self, path):
        options = {"model_path": path, "experimental_delegates": [self.delegate]}
        try:
            try:
                made = self.module.Interpreter(num_threads=1, **options)
            except TypeError:  # an old one, which has one thread
                made = self.module.Interpreter(**options)
            self.made.append(ModuleInterpreter(made))
        except (ValueError, RuntimeError) as error:
            raise Failure("bad_model", "%s: %s %s makes no interpreter of it for %s: %s" % (path, self.name, self.version, self.devices.version, error))
        return self.made[-1]

    def close(self):
        for i in self.made:
            i.wrapped = None
        self.delegate = None  # after all interpreters


MODULES = ("pycoral", "tflite_runtime", "ai_edge_litert")


def find_backend(name):
    if name == "ctypes":
        return CtypesBackend()
    for module in (name,) if name else MODULES:
        try:
            if importlib.util.find_spec(module) is None:
                raise ImportError("it is not installed")
            return ModuleBackend(module)
        except Failure:
            raise
        except Exception as error:  # a package that was built for another Python or NumPy fails in many ways
            if name:
                raise Failure("not_available", "%s cannot be used: %s" % (module, error))
            if importlib.util.find_spec(module) is not None:
                tell("warning", "%s is installed, but cannot be used: %s" % (module, error))
    return CtypesBackend()


# --- the child


class Session(object):
    """One run."""

    def __init__(self, run, folder, out):
        self.run, self.folder, self.out = run, folder, out
        self.backend = self.device = None
        self.source, self.host, self.call = "measured", socket.gethostname(), 0

    def line(self, fields):
        data = (json.dumps(fields) + "\n").encode("ascii")
        try:
            while data:
                data = data[os.write(self.out, data):]
        except OSError:
            os._exit(1)  # nobody to hear it is nobody to measure for

    def say(self, action, model="", call=0):
        """Begins an action. Whoever watches ends this process when it takes too
        long; if nobody does any more, the alarm ends it, without Python's help."""
        fields = [("schema", EVENT_SCHEMA), ("action", action)]
        fields += [("model", model)] if model else []
        fields += [("call", call)] if call else []
        self.line(collections.OrderedDict(fields))
        if hasattr(signal, "setitimer"):
            seconds = self.run["deadline_ms"] / 1000.0 if action in ("create", "self_test", "call") else OPEN_SECONDS
            signal.setitimer(signal.ITIMER_REAL, min(2 * seconds + 1, 1e8))

    def measure(self, backend):
        self.say("open")
        self.backend = find_backend(backend)
        if self.backend.devices.version.startswith(SIMULATED):
            self.source = "simulated"
        models = self.run["models"]
        # Before the device is opened, for opening it takes seconds.
        found = [self.about(m, verified, m, self.folder, self.backend) for m in models]
        self.paths = [path for path, _ in found]
        self.hashes = {m["name"]: digest for m, (_, digest) in zip(models, found)}
        self.device = self.backend.devices.pick(self.run["device"])
        self.backend.open(self.device)
        interpreters = []
        for i, m in enumerate(models):
            self.say("create", m["name"])
            before = time.perf_counter()
            made = self.about(m, self.backend.interpreter, self.paths[i])
            took = time.perf_counter() - before
            interpreters.append(made)
            self.record(m, "create", took)
            self.fill(made, i)
        self.about(models[0], self.self_test)
        for repeat in range(self.run["warm_up"] + self.run["repeats"]):
            for step in self.run["steps"]:
                kind = step.get("kind") if repeat >= self.run["warm_up"] else ""
                m = models[step["model"]]
                self.about(m, self.invoke, m, interpreters[step["model"]], kind)
        self.say("close")
        interpreters = made = None
        self.backend.close()
        self.say("done")

    def about(self, model, function, *arguments):
        """Completes a failure."""
        try:
            return function(*arguments)
        except Failure as failure:
            failure.model = model["name"]
            failure.library = failure.library or self.backend.devices.version
            failure.runtime = failure.runtime or self.backend.version
            raise

    def fill(self, interpreter, index):
        """Gives a model the inputs that it has in every call."""
        for t, size in enumerate(interpreter.inputs):
            if size:
                interpreter.set_input(t, input_bytes(self.run["seed"], index, t, size))

    def self_test(self):
        """One inference of the first model, with an interpreter of its own: the
        model's first call is still one that loads."""
        self.say("self_test", self.run["models"][0]["name"])
        tested = self.backend.interpreter(self.paths[0])
        self.fill(tested, 0)
        wrong = tested.invoke()
        if wrong:
            raise Failure(
                "self_test", "%s fails its self-test: the first inference %s" % (self.device, wrong),
                "the device is there, but does not work: unplug it and plug it in again")

    def invoke(self, model, interpreter, kind):
        """A call, and a sample of it unless kind is empty."""
        self.say("call", model["name"], self.call)
        before = time.perf_counter()
        wrong = interpreter.invoke()
        took = time.perf_counter() - before
        if wrong:
            raise Failure("call_failed", "call %d %s" % (self.call, wrong))
        if kind:
            outputs = ""
            if self.run["outputs"]:
                digest = hashlib.sha256()
                for t in range(interpreter.outputs):
                    digest.update(interpreter.output(t))
                outputs = digest.hexdigest()
            self.record(model, kind, took, outputs)
        self.call += 1

    BYTES = {"first": "cold_bytes", "load": "cold_bytes", "steady": "warm_bytes", "squeezed": "warm_bytes"}

    def record(self, model, kind, seconds, outputs=""):
        sample = collections.OrderedDict((
            ("schema", SAMPLE_SCHEMA), ("run", self.run["run"]), ("model", model["name"]), ("kind", kind),
            ("ms", seconds * 1000), ("sha256", self.hashes[model["name"]]), ("host", self.host),
            ("device", self.device.path), ("source", self.source),
        ))
        if not self.host:
            del sample["host"]
        if kind != "create" and self.call:
            sample["call"] = self.call
        sent = model.get(self.BYTES.get(kind, ""))
        if sent:
            sample["bytes"] = sent
        degrees = temperature(self.device.path)
        if degrees is not None:
            sample["temperature_c"] = degrees
        if outputs:
            sample["outputs_sha256"] = outputs
        self.line(sample)


def temperature(device):
    """What the kernel driver of PCIe devices says, None where there is none. No
    driver tells the clock."""
    folder = os.environ.get("TPUPLAN_APEX") or "/sys/class/apex"
    try:
        with open(os.path.join(folder, os.path.basename(device), "temp")) as f:
            return float(f.read()) / 1000
    except (OSError, ValueError):
        return None


def child(path, backend):
    out = os.dup(1)
    os.dup2(2, 1)  # where libraries may print what they like
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever watches decides
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    session = None
    try:
        runs, folder = read_runs(path)
        if len(runs) != 1:
            raise Failure("bad_run", "%d runs at a time" % len(runs))
        session = Session({}, folder, out)
        session.run = check_run(runs[0])
        session.measure(backend)
    except Failure as failure:
        event = collections.OrderedDict((("schema", EVENT_SCHEMA), ("failure", failure.fields())))
        (session or Session({}, ".", out)).line(event)
        os._exit(1)  # the end of the process closes everything
    os._exit(0)


# --- the parent, for people


class Watch(object):
    """Does a run in a child process, passes its samples on and ends it when it
    takes too long."""

    HINTS = {
        "silent": "the device is silent: unplug it and plug it in again",
        "aborted": "libedgetpu ends the process when the connection to the device fails: look at cable, hub and power supply",
    }

    def __init__(self, run, folder, backend):
        self.run, self.now = run, {"action": "open"}
        words = [sys.executable, os.path.abspath(__file__), "--events"] + (["--backend", backend] if backend else [])
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self.lines = queue.Queue()
        thread = threading.Thread(target=self.read)
        thread.daemon = True
        thread.start()

    def read(self):
        try:
            self.process.stdin.write(json.dumps(self.run).encode("ascii"))
            self.process.stdin.close()
        except OSError:
            pass  # it ended, which the reader below notices
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def failure(self, code, text):
        return Failure(code, text, self.HINTS.get(code, ""), self.now.get("model", ""))

    def doing(self):
        action = self.now.get("action")
        names = {"create": "creating the interpreter", "self_test": "the self-test", "call": "call %d" % self.now.get("call", 0), "close": "closing the device"}
        return names.get(action, "opening the device")

    def deadline(self):
        return self.run["deadline_ms"] / 1000.0 if self.now.get("action") in ("create", "self_test", "call") else OPEN_SECONDS

    def follow(self):
        while True:
            try:
                line = self.lines.get(timeout=min(self.deadline(), threading.TIMEOUT_MAX))
            except queue.Empty:
                raise self.failure("silent", "%s did not end within %g s" % (self.doing(), self.deadline()))
            if not line:
                break
            said = json.loads(line.decode("utf-8"))
            if said.get("schema") == SAMPLE_SCHEMA:
                sys.stdout.write(line.decode("utf-8"))
                sys.stdout.flush()
                continue
            if "failure" in said:
                f = said["failure"]
                raise Failure(f["code"], f["text"], f.get("hint", ""), f.get("model", ""))
            self.now = said
            if said.get("action") == "done":
                return
        code = self.process.wait()
        if code < 0:
            raise self.failure("aborted", "%s: the measuring process was ended by signal %d" % (self.doing(), -code))
        raise self.failure("broken", "%s: the measuring process ended with exit code %d" % (self.doing(), code))

    def end(self):
        self.process.kill()
        self.process.wait()


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="measure.py's first lines say more.")
    parser.add_argument("run", nargs="?", default="-", metavar="RUN.json", help="the runs; default: standard input")
    parser.add_argument("--backend", default="", choices=MODULES + ("ctypes",), metavar="NAME", help="pycoral, tflite_runtime, ai_edge_litert or ctypes")
    parser.add_argument("--events", action="store_true", help="print events too, and do one run without watching over it")
    arguments = parser.parse_args()
    if arguments.events:
        child(arguments.run, arguments.backend)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupted)
    try:
        runs, folder = read_runs(arguments.run)
        runs = [check_run(run) for run in runs]
        for i, run in enumerate(runs):
            tell("note", "run %d of %d: %s" % (i + 1, len(runs), run["run"]))
            watch = Watch(run, folder, arguments.backend)
            try:
                watch.follow()
            finally:
                watch.end()
    except Failure as failure:
        tell("error", 'model "%s": %s' % (failure.model, failure.text) if failure.model else failure.text)
        if failure.hint:
            tell("hint", failure.hint)
        return 2 if failure.code == "bad_run" else 1
    except BrokenPipeError:
        os.dup2(2, 1)  # or Python would complain once more at its end
        tell("error", "nobody reads the samples any more")
        return 1
    except OSError as error:
        tell("error", "the samples cannot be written: %s" % error)
        return 1
    except KeyboardInterrupt:
        tell("error", "interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
