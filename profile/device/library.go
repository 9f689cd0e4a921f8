//go:build edgetpu && (linux || darwin)

package device

/*
#cgo CFLAGS: -I${SRCDIR}/standin
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <stdlib.h>
#include <unistd.h>
#include "tensorflow/lite/c/c_api.h"
#include "edgetpu_c.h"

// The functions of a libedgetpu that was loaded at run time.
struct library {
	void* handle;
	const char* (*version)(void);
	struct edgetpu_device* (*list_devices)(size_t*);
	void (*free_devices)(struct edgetpu_device*);
	TfLiteDelegate* (*create_delegate)(enum edgetpu_device_type, const char*, const struct edgetpu_option*, size_t);
	void (*free_delegate)(TfLiteDelegate*);
};

// library_open returns NULL, or why the library cannot be loaded.
static const char* library_open(struct library* l, const char* name) {
	l->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	return l->handle == NULL ? dlerror() : NULL;
}

// library_bind looks the functions up and returns the name of one that is missing, else NULL.
static const char* library_bind(struct library* l) {
	struct { const char* name; void** into; } all[] = {
		{"edgetpu_version", (void**)&l->version},
		{"edgetpu_list_devices", (void**)&l->list_devices},
		{"edgetpu_free_devices", (void**)&l->free_devices},
		{"edgetpu_create_delegate", (void**)&l->create_delegate},
		{"edgetpu_free_delegate", (void**)&l->free_delegate},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		*all[i].into = dlsym(l->handle, all[i].name);
		if (*all[i].into == NULL) return all[i].name;
	}
	return NULL;
}

static const char* library_version(struct library* l) { return l->version(); }
static struct edgetpu_device* library_list(struct library* l, size_t* n) { return l->list_devices(n); }
static void library_free(struct library* l, struct edgetpu_device* d) { l->free_devices(d); }
static TfLiteDelegate* library_create(struct library* l, enum edgetpu_device_type type, const char* path) {
	return l->create_delegate(type, path, NULL, 0);
}
static void library_delete(struct library* l, TfLiteDelegate* d) { l->free_delegate(d); }

// die_of_signals lets what happens in the library end the process as it ends a
// program in C, instead of with pages about Go, and without a dump of its memory.
static void die_of_signals(void) {
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	int all[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) signal(all[i], SIG_DFL);
}
*/
import "C"

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tpuplan/tpuplan/profile"
)

// LibraryVariable names the libedgetpu to load instead of the system's.
const LibraryVariable = "TPUPLAN_LIBEDGETPU"

// simulated is how the version of a library begins that drives no device.
const simulated = "tpuplan-simulated"

// library is a libedgetpu.
type library struct {
	c       *C.struct_library // outside of Go's memory: C keeps no pointer, but the functions are called through it
	name    string
	version string
	source  profile.Source
}

// libraryNames are the names under which the library is looked for.
func libraryNames() []string {
	if name := os.Getenv(LibraryVariable); name != "" {
		return []string{name}
	}
	if runtime.GOOS == "darwin" {
		return []string{"libedgetpu.1.dylib", "libedgetpu.1.0.dylib"}
	}
	return []string{"libedgetpu.so.1", "libedgetpu.so.1.0", "libedgetpu.so"}
}

// openLibrary loads the library. It stays loaded: threads of it may live on.
func openLibrary() (*library, *profile.Failure) {
	l := &library{c: (*C.struct_library)(C.calloc(1, C.sizeof_struct_library)), source: profile.Measured}
	var reasons []string
	for _, name := range libraryNames() {
		text := C.CString(name)
		reason := C.library_open(l.c, text)
		C.free(unsafe.Pointer(text))
		if reason == nil {
			l.name = name
			break
		}
		reasons = append(reasons, C.GoString(reason))
	}
	if l.name == "" {
		return nil, &profile.Failure{
			Code: profile.NoLibrary, Text: "libedgetpu cannot be loaded: " + reasons[0], Runtime: tfliteVersion(),
			Hint: "install the Edge TPU runtime (libedgetpu1-std), or name the library with " + LibraryVariable,
		}
	}
	missing := C.library_bind(l.c)
	if l.c.version != nil {
		l.version = C.GoString(C.library_version(l.c))
	}
	if missing != nil {
		version := l.version
		if version == "" {
			version = "version unknown"
		}
		return nil, &profile.Failure{
			Code: profile.WrongABI, Library: l.version, Runtime: tfliteVersion(),
			Text: fmt.Sprintf("%s (%s) has no function %s, which TensorFlow Lite %s needs to reach the device", l.name, version, C.GoString(missing), tfliteVersion()),
			Hint: "install a libedgetpu that was made for this TensorFlow Lite, or name another one with " + LibraryVariable,
		}
	}
	if strings.HasPrefix(l.version, simulated) {
		l.source = profile.Simulated
	}
	return l, nil
}

func tfliteVersion() string { return C.GoString(C.TfLiteVersion()) }

var runtimeVersion = regexp.MustCompile(`RuntimeVersion\((\d+)\)`)

// runtime is the version of the runtime that models are compiled for, 0 if it
// is not known.
func (l *library) runtime() int {
	if m := runtimeVersion.FindStringSubmatch(l.version); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 0
}

// edgeTPU is a device as the library lists it.
type edgeTPU struct {
	kind C.enum_edgetpu_device_type
	path string
}

func (d edgeTPU) String() string {
	if d.kind == C.EDGETPU_APEX_USB {
		return d.path + " (USB)"
	}
	return d.path + " (PCIe)"
}

func (l *library) devices() (list []edgeTPU) {
	var n C.size_t
	first := C.library_list(l.c, &n)
	if first == nil {
		return nil
	}
	defer C.library_free(l.c, first)
	for _, d := range unsafe.Slice(first, n) {
		list = append(list, edgeTPU{d._type, C.GoString(d.path)})
	}
	return list
}

// choose finds the device that a run names: the first, by path or by number.
func choose(list []edgeTPU, wanted string) (edgeTPU, *profile.Failure) {
	if len(list) == 0 {
		return edgeTPU{}, &profile.Failure{
			Code: profile.NoDevice, Text: "there is no Edge TPU",
			Hint: "lsusb shows 1a6e:089a or 18d1:9302 for one on USB, and /dev has apex_0 for one on PCIe",
		}
	}
	if wanted == "" {
		return list[0], nil
	}
	if n, err := strconv.Atoi(wanted); err == nil && n >= 0 && n < len(list) {
		return list[n], nil
	}
	var names []string
	for _, d := range list {
		if d.path == wanted {
			return d, nil
		}
		names = append(names, d.String())
	}
	return edgeTPU{}, &profile.Failure{
		Code: profile.NoDevice, Text: fmt.Sprintf("there is no Edge TPU %q", wanted),
		Hint: "there are " + strings.Join(names, ", ") + "; a number counts them from 0",
	}
}

// delegate is an opened device. It implements go-tflite's delegates.Delegater.
type delegate struct {
	library *library
	c       *C.TfLiteDelegate
}

// open opens a device of the list.
func (l *library) open(d edgeTPU) (*delegate, *profile.Failure) {
	path := C.CString(d.path)
	defer C.free(unsafe.Pointer(path))
	c := C.library_create(l.c, d.kind, path)
	if c == nil {
		hint := "is another process using it? Users need the right to it: for PCIe membership of the group apex, for USB the udev rule of libedgetpu and membership of plugdev"
		return nil, &profile.Failure{Code: profile.DeviceBusy, Text: d.String() + " cannot be opened", Hint: hint}
	}
	return &delegate{l, c}, nil
}

// Ptr is the delegate for the interpreter's options.
func (d *delegate) Ptr() unsafe.Pointer { return unsafe.Pointer(d.c) }

// Delete closes the device. Its interpreters must be deleted before.
func (d *delegate) Delete() { C.library_delete(d.library.c, d.c) }

func dieOfSignals() { C.die_of_signals() }

// keepStdout returns a file for what is stdout now and turns stdout into
// stderr, where libraries may print what they like.
func keepStdout() (*os.File, error) {
	fd, err := C.dup(1)
	if fd < 0 {
		return nil, err
	}
	if r, err := C.dup2(2, 1); r < 0 {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "stdout"), nil
}
