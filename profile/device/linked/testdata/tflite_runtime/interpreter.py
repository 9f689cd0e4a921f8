"""A thin double of tflite_runtime.interpreter for tests, on TensorFlow Lite's C
library: as much of it as docs/runtime.md uses."""

import ctypes

lite = ctypes.CDLL("libtensorflowlite_c.so")
for _name, _result in (
    ("TfLiteModelCreateFromFile", ctypes.c_void_p),
    ("TfLiteInterpreterOptionsCreate", ctypes.c_void_p),
    ("TfLiteInterpreterOptionsSetNumThreads", None),
    ("TfLiteInterpreterOptionsAddDelegate", None),
    ("TfLiteInterpreterOptionsDelete", None),
    ("TfLiteInterpreterCreate", ctypes.c_void_p),
    ("TfLiteInterpreterDelete", None),
    ("TfLiteModelDelete", None),
    ("TfLiteInterpreterAllocateTensors", ctypes.c_int),
    ("TfLiteInterpreterInvoke", ctypes.c_int),
):
    getattr(lite, _name).restype = _result


def pointer(value):
    return ctypes.c_void_p(value)


class Delegate:
    def __init__(self, library, options):
        self.library = ctypes.CDLL(library)
        create = self.library.tflite_plugin_create_delegate
        create.restype = ctypes.c_void_p
        strings = ctypes.c_char_p * len(options)
        keys = strings(*[str(k).encode() for k in options])
        values = strings(*[str(v).encode() for v in options.values()])
        self.delegate = create(keys, values, ctypes.c_size_t(len(options)), None)
        if not self.delegate:
            raise ValueError("Failed to load delegate from %s" % library)

    def __del__(self):
        if getattr(self, "delegate", None):
            self.library.tflite_plugin_destroy_delegate(pointer(self.delegate))


def load_delegate(library, options=None):
    return Delegate(library, options or {})


class Interpreter:
    def __init__(self, model_path=None, experimental_delegates=None, num_threads=None):
        self.delegates = experimental_delegates or []  # they live as long as the interpreter
        self.model = lite.TfLiteModelCreateFromFile(model_path.encode())
        if not self.model:
            raise ValueError("Could not open '%s'" % model_path)
        options = lite.TfLiteInterpreterOptionsCreate()
        if num_threads:
            lite.TfLiteInterpreterOptionsSetNumThreads(pointer(options), num_threads)
        for d in self.delegates:
            lite.TfLiteInterpreterOptionsAddDelegate(pointer(options), pointer(d.delegate))
        self.interpreter = lite.TfLiteInterpreterCreate(pointer(self.model), pointer(options))
        lite.TfLiteInterpreterOptionsDelete(pointer(options))
        if not self.interpreter:
            raise ValueError("no interpreter for '%s'" % model_path)

    def __del__(self):
        if getattr(self, "interpreter", None):
            lite.TfLiteInterpreterDelete(pointer(self.interpreter))
        if getattr(self, "model", None):
            lite.TfLiteModelDelete(pointer(self.model))

    def allocate_tensors(self):
        if lite.TfLiteInterpreterAllocateTensors(pointer(self.interpreter)):
            raise RuntimeError("cannot allocate tensors")

    def invoke(self):
        if lite.TfLiteInterpreterInvoke(pointer(self.interpreter)):
            raise RuntimeError("the call fails")
