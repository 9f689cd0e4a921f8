"""A thin double of the interpreter class of TensorFlow's Python packages, on
ctypes: as much of it as a measurer needs, with its rules. It stands in for
packages that are not installed where the tests run."""

import ctypes
import os
import weakref

lite = ctypes.CDLL(os.environ["TPUPLAN_LIBTENSORFLOWLITE"])
for name in "TfLiteModelCreateFromFile TfLiteInterpreterOptionsCreate TfLiteInterpreterCreate TfLiteInterpreterGetInputTensor TfLiteInterpreterGetOutputTensor TfLiteTensorData TfLiteTensorName".split():
    getattr(lite, name).restype = ctypes.c_void_p
lite.TfLiteTensorByteSize.restype = ctypes.c_size_t
P = ctypes.c_void_p


class Delegate(object):
    def __init__(self, library, options):
        self.library = ctypes.PyDLL(library)  # as the real one: the interpreter lock is held
        self.library.tflite_plugin_create_delegate.restype = P
        n = len(options)
        keys, values = (ctypes.c_char_p * n)(), (ctypes.c_char_p * n)()
        for i, (key, value) in enumerate(options.items()):
            keys[i], values[i] = key.encode(), value.encode()
        said = []
        report = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: said.append(text.decode()))
        self.pointer = self.library.tflite_plugin_create_delegate(keys, values, ctypes.c_size_t(n), report)
        if not self.pointer:
            raise ValueError("Failed to load delegate from %s\n%s" % (library, "".join(said)))

    def __del__(self):
        if getattr(self, "pointer", None):
            self.library.tflite_plugin_destroy_delegate(P(self.pointer))


def load_delegate(library, options=None):
    return Delegate(library, options or {})



class Interpreter(object):
    def __init__(self, model_path=None, experimental_delegates=None, num_threads=None):
        self.handle, self.delegates, self.views = None, experimental_delegates, []
        self.model = lite.TfLiteModelCreateFromFile(model_path.encode())
        if not self.model:
            raise ValueError("Could not open '%s'." % model_path)
        options = lite.TfLiteInterpreterOptionsCreate()
        lite.TfLiteInterpreterOptionsSetNumThreads(P(options), num_threads or 1)
        for delegate in experimental_delegates or ():
            lite.TfLiteInterpreterOptionsAddDelegate(P(options), P(delegate.pointer))
        self.handle = lite.TfLiteInterpreterCreate(P(self.model), P(options))
        lite.TfLiteInterpreterOptionsDelete(P(options))
        if not self.handle:
            raise ValueError("Failed to apply delegate")

    def __del__(self):
        if self.handle:
            lite.TfLiteInterpreterDelete(P(self.handle))
        if self.model:
            lite.TfLiteModelDelete(P(self.model))

    def safe(self):
        if any(view() is not None for view in self.views):
            raise RuntimeError("There is at least 1 reference to internal data in the interpreter in the form of a numpy array or slice.")

    def allocate_tensors(self):
        self.safe()
        if lite.TfLiteInterpreterAllocateTensors(P(self.handle)) != 0:
            raise RuntimeError("tensors cannot be allocated")
        inputs = range(lite.TfLiteInterpreterGetInputTensorCount(P(self.handle)))
        outputs = range(lite.TfLiteInterpreterGetOutputTensorCount(P(self.handle)))
        self.tensors = [lite.TfLiteInterpreterGetInputTensor(P(self.handle), i) for i in inputs]
        self.first_output = len(self.tensors)
        self.tensors += [lite.TfLiteInterpreterGetOutputTensor(P(self.handle), i) for i in outputs]

    def details(self, indices):
        return [{"index": i, "shape": (lite.TfLiteTensorByteSize(P(self.tensors[i])),)} for i in indices]

    def get_input_details(self):
        return self.details(range(self.first_output))

    def get_output_details(self):
        return self.details(range(self.first_output, len(self.tensors)))

    def tensor(self, index):
        def view():
            tensor = P(self.tensors[index])

            class View(ctypes.c_ubyte * lite.TfLiteTensorByteSize(tensor)):
                pass
            made = View.from_address(lite.TfLiteTensorData(tensor))
            self.views.append(weakref.ref(made))
            return made
        return view

    def invoke(self):
        self.safe()
        if lite.TfLiteInterpreterInvoke(P(self.handle)) != 0:
            raise RuntimeError("Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke.")
