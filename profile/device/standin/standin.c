/* A libedgetpu that needs no Edge TPU, for tests: it exports the C interface of
 * the real library and the entry points of an external delegate, claims the
 * Edge TPU operators of compiled models, and takes as long for them as a model
 * of link and computing says. It measures nothing and computes nothing real:
 * its version begins with "tpuplan-simulated", and whoever uses it labels what
 * comes out of it so.
 *
 * The environment says what it is to be. docs/standin.md explains the
 * variables, which all begin with TPUPLAN_STANDIN_:
 *
 *   DEVICES            usb or pci for each device, separated by commas; usb
 *   MB_PER_S           rate of the link, for each device; 400
 *   OVERHEAD_MS        what a load takes besides its bytes; 0.43
 *   OVERLAP_MS         part of a load that computing hides; 0
 *   STREAM_FACTOR      how many times its share of the link's time a streamed byte takes; 1
 *   COMPUTE_MS         computing of a call, or PARAMETER_BYTES=MS of one model; 0
 *   COMPUTE_MS_PER_MB  and for each 10^6 bytes of parameters; 0
 *   CLOCK_MHZ          and for the cycles that the compiler estimated; 0 is none
 *   NOISE_PCT, SEED    normal noise of a call's time, and what it is drawn from; 0, 1
 *   RUNTIME            version of the runtime; 14
 *   ABSENT_MS          how long opening a device takes that is not there; 25000
 *   FAULT              KIND[:DEVICE][@CALL][=VALUE],...
 *   LOG                file for a JSON line about each call
 *   APEX               folder for the devices' temperatures, as /sys/class/apex
 *
 * The settings are read when no device is open.
 *
 * STANDIN_LACKS_CREATE leaves out a function: a library of another interface. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "edgetpu_c.h"
#include "package.h"
#include "tensorflow/lite/c/common.h"

#define EXPORT __attribute__((visibility("default")))

static const char op_name[] = "edgetpu-custom-op";

/* Later runtimes have more fields at the end of a registration. It is passed
 * by value, so they would read whatever comes next; here they read zeros. */
struct registration {
  TfLiteRegistration known;
  void* unknown[8];
};

typedef TfLiteStatus (*replace_nodes)(TfLiteContext*, struct registration, const TfLiteIntArray*, TfLiteDelegate*);

static const char* package_of(TfLiteContext* context, int node_index, struct package* package) {
  TfLiteNode* node;
  TfLiteRegistration* registration;
  if (context->GetNodeAndRegistration(context, node_index, &node, &registration) != kTfLiteOk) return "the operator is gone";
  return package_read(node->custom_initial_data, (size_t)node->custom_initial_data_size, package);
}

/* The kernel of one operator. */

static void* kernel_init(TfLiteContext* context, const char* buffer, size_t length) {
  (void)length;
  const TfLiteDelegateParams* params = (const TfLiteDelegateParams*)(const void*)buffer;
  struct package package;
  if (package_of(context, params->nodes_to_replace->data[0], &package) != NULL) return NULL; /* delegate_prepare has said it */
  return device_register(params->delegate->data_, &package);
}

static void kernel_free(TfLiteContext* context, void* program) {
  (void)context;
  if (program != NULL) device_unregister(program);
}

static TfLiteStatus kernel_prepare(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data != NULL) return kTfLiteOk;
  context->ReportError(context, "stand-in Edge TPU: no room for another model");
  return kTfLiteError;
}

struct call {
  TfLiteContext* context;
  TfLiteNode* node;
  uint64_t identity;
};

/* outputs are draws that depend on the weights and on every byte of the inputs. */
static void outputs(void* of, bool corrupt) {
  const struct call* c = of;
  uint64_t state = c->identity;
  for (int i = 0; i < c->node->inputs->size; i++) {
    int index = c->node->inputs->data[i];
    if (index < 0) continue;
    const TfLiteTensor* t = &c->context->tensors[index];
    state = mix(state, t->bytes);
    for (size_t at = 0; at < t->bytes; at += 8) {
      uint64_t word = 0;
      memcpy(&word, t->data.raw_const + at, t->bytes - at < 8 ? t->bytes - at : 8);
      state = mix(state, word);
    }
  }
  for (int i = 0; i < c->node->outputs->size; i++) {
    TfLiteTensor* t = &c->context->tensors[c->node->outputs->data[i]];
    for (size_t at = 0; at < t->bytes; at += 8) {
      uint64_t word = mix(state, (uint64_t)i << 32 | at);
      if (corrupt) word ^= at == 0;
      memcpy(t->data.raw + at, &word, t->bytes - at < 8 ? t->bytes - at : 8);
    }
  }
}

static TfLiteStatus kernel_invoke(TfLiteContext* context, TfLiteNode* node) {
  struct program* program = node->user_data;
  struct call call = {context, node, program->package.identity};
  int64_t requests = 1, batch = program->package.main.batch;
  if (batch > 0 && node->inputs->size > 0 && node->inputs->data[0] >= 0) {
    const TfLiteIntArray* dims = context->tensors[node->inputs->data[0]].dims;
    if (dims != NULL && dims->size == 4 && dims->data[0] > batch) requests = (dims->data[0] + batch - 1) / batch;
  }
  if (device_call(program, requests, outputs, &call).failed) {
    context->ReportError(context, "stand-in Edge TPU: the call failed");
    return kTfLiteError;
  }
  return kTfLiteOk;
}

/* Claims every Edge TPU operator, each for a kernel of its own: in one kernel
 * for several, all packages but the first would be lost. */
static TfLiteStatus delegate_prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  struct registration kernel;
  memset(&kernel, 0, sizeof kernel);
  kernel.known.init = kernel_init;
  kernel.known.free = kernel_free;
  kernel.known.prepare = kernel_prepare;
  kernel.known.invoke = kernel_invoke;
  kernel.known.custom_name = op_name;
  kernel.known.version = 1;

  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  int count = 0;
  int* nodes = malloc(sizeof *nodes * (size_t)(plan->size + 1));
  TfLiteIntArray* one = malloc(sizeof *one + sizeof(int));
  TfLiteStatus status = nodes != NULL && one != NULL ? kTfLiteOk : kTfLiteError;
  for (int i = 0; i < plan->size && status == kTfLiteOk; i++) {
    TfLiteNode* node;
    TfLiteRegistration* registration;
    status = context->GetNodeAndRegistration(context, plan->data[i], &node, &registration);
    if (status == kTfLiteOk && registration->custom_name != NULL && strcmp(registration->custom_name, op_name) == 0) {
      nodes[count++] = plan->data[i];
    }
  }
  for (int i = 0; i < count && status == kTfLiteOk; i++) {
    struct package package;
    const char* wrong = package_of(context, nodes[i], &package);
    if (wrong != NULL) {
      context->ReportError(context, "stand-in Edge TPU: operator %d: %s", nodes[i], wrong);
      status = kTfLiteError;
    } else if (!device_accepts(&package)) {
      context->ReportError(context, "Package requires runtime version (%d), which is newer than this runtime version (%d).",
                           package.min_runtime, devices_settings()->runtime);
      status = kTfLiteError;
    } else {
      one->size = 1;
      one->data[0] = nodes[i];
      status = ((replace_nodes)(void (*)(void))context->ReplaceNodeSubsetsWithDelegateKernels)(context, kernel, one, delegate);
    }
  }
  free(nodes);
  free(one);
  return status;
}

static TfLiteDelegate* delegate_on(int number) {
  TfLiteDelegate* delegate = calloc(1, sizeof *delegate);
  struct device* device = delegate == NULL ? NULL : device_open(number);
  if (device == NULL) {
    fprintf(stderr, "E stand-in Edge TPU: cannot open %s\n", device_path(number));
    free(delegate);
    return NULL;
  }
  delegate->data_ = device;
  delegate->Prepare = delegate_prepare;
  /* Without it the runtime prepares all operators first, and fails at those that nobody has claimed yet. */
  delegate->flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return delegate;
}

/* libedgetpu's own C interface. */

EXPORT struct edgetpu_device* edgetpu_list_devices(size_t* num_devices) {
  const struct settings* s = devices_settings();
  struct edgetpu_device* list = calloc(kMaxDevices, sizeof *list);
  size_t n = 0;
  for (int i = 0; list != NULL && i < s->devices; i++) {
    if (!device_listed(i)) continue;
    list[n].type = s->usb[i] ? EDGETPU_APEX_USB : EDGETPU_APEX_PCI;
    list[n++].path = device_path(i);
  }
  *num_devices = n;
  if (n > 0) return list;
  free(list);
  return NULL;
}

EXPORT void edgetpu_free_devices(struct edgetpu_device* devices) { free(devices); }

#ifndef STANDIN_LACKS_CREATE
EXPORT TfLiteDelegate* edgetpu_create_delegate(enum edgetpu_device_type type, const char* name,
                                               const struct edgetpu_option* options, size_t num_options) {
  (void)options;
  (void)num_options;
  const struct settings* s = devices_settings();
  for (int i = 0; i < s->devices; i++) {
    if (s->usb[i] != (type == EDGETPU_APEX_USB) || !device_listed(i)) continue;
    if (name == NULL || strcmp(name, device_path(i)) == 0) return delegate_on(i);
  }
  if (name != NULL) { /* the real one looks for it for a while */
    struct timespec ts = {(time_t)(s->absent_ms / 1000), (long)(s->absent_ms * 1e6) % 1000000000};
    nanosleep(&ts, NULL);
  }
  return NULL;
}
#endif

EXPORT void edgetpu_free_delegate(TfLiteDelegate* delegate) {
  if (delegate == NULL) return;
  device_close(delegate->data_);
  free(delegate);
}

EXPORT void edgetpu_verbosity(int verbosity) { (void)verbosity; }

EXPORT const char* edgetpu_version(void) {
  static char text[64];
  static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
  int runtime = devices_settings()->runtime;
  pthread_mutex_lock(&writing);
  snprintf(text, sizeof text, "tpuplan-simulated 1, RuntimeVersion(%d)", runtime);
  pthread_mutex_unlock(&writing);
  return text;
}

/* The entry points of an external delegate, which is how a Python runtime
 * loads it. Its only option is device: usb, pci, :N, usb:N, pci:N or a path. */

EXPORT TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report_error)(const char*));
EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate);

static int device_of_option(const struct settings* s, const char* text) {
  if (strchr(text, '/') != NULL) return device_number(text);
  bool usb = strncmp(text, "usb", 3) == 0, pci = strncmp(text, "pci", 3) == 0;
  const char* rest = usb || pci ? text + 3 : text;
  long wanted = 0;
  if (*rest == ':') {
    char* end;
    wanted = strtol(rest + 1, &end, 10);
    if (end == rest + 1 || wanted < 0) return -1;
    rest = end;
  }
  if (*rest != '\0') return -1;
  for (int i = 0; i < s->devices; i++) {
    if (!device_listed(i) || (usb && !s->usb[i]) || (pci && s->usb[i])) continue;
    if (wanted-- == 0) return i;
  }
  return -1;
}

TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report_error)(const char*)) {
  const char* device = "";
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "device") == 0) device = values[i];
  }
  int number = device_of_option(devices_settings(), device);
  TfLiteDelegate* delegate = number < 0 ? NULL : delegate_on(number);
  if (delegate == NULL && report_error != NULL) report_error("stand-in Edge TPU: the device cannot be opened");
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { edgetpu_free_delegate(delegate); }
