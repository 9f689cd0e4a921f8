#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Programs that can be on one device at a time. */
enum { kMaxPrograms = 4096 };

struct device {
  int number;
  int opened; /* how often; what is loaded is lost with the last close */
  pthread_mutex_t busy;

  /* The driver's state: the token of the parameters that are loaded, and whose
   * those are. A slot is what an address is in the driver: the next program gets
   * the one that was given back, and whatever mark is still on it. */
  uint64_t token;
  bool loaded[kMaxPrograms];
  bool used[kMaxPrograms];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of everything below */
static struct settings settings;
static bool settled;
static int open_devices;
static int64_t calls;
static struct device devices[kMaxDevices] = {[0 ... kMaxDevices - 1] = {.busy = PTHREAD_MUTEX_INITIALIZER}};
static char paths[kMaxDevices][32];

const struct settings* devices_settings(void) {
  pthread_mutex_lock(&lock);
  if (!settled || open_devices == 0) {
    settings_read(&settings);
    settled = true;
    calls = 0;
    int usb = 0, pci = 0;
    for (int i = 0; i < settings.devices; i++) {
      bool is_usb = settings.usb[i];
      snprintf(paths[i], sizeof paths[i], is_usb ? "/simulated/usb_%d" : "/simulated/apex_%d", is_usb ? usb++ : pci++);
    }
  }
  pthread_mutex_unlock(&lock);
  return &settings;
}

const char* device_path(int number) { return paths[number]; }

int device_number(const char* path) {
  for (int i = 0; i < settings.devices; i++) {
    if (strcmp(paths[i], path) == 0 && device_listed(i)) return i;
  }
  return -1;
}

/* fault finds a fault that is in force at a call, NULL if there is none. */
static const struct fault* fault(enum fault_kind kind, int device, int64_t call) {
  for (int i = 0; i < settings.faults; i++) {
    const struct fault* f = &settings.fault[i];
    if (f->kind == kind && (f->device < 0 || f->device == device) && call >= f->call) return f;
  }
  return NULL;
}

bool device_listed(int number) { return fault(kGone, number, INT64_MAX) == NULL; }

static void record(const char* line) {
  if (settings.log[0] == '\0') return;
  /* One write to the end of the file, so that processes can share it. */
  int f = open(settings.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (f < 0 || write(f, line, strlen(line)) != (ssize_t)strlen(line)) {
    fprintf(stderr, "stand-in Edge TPU: %s: %s\n", settings.log, strerror(errno));
    exit(2);
  }
  close(f);
}

static void record_event(const char* event, const struct device* d) {
  char line[128];
  snprintf(line, sizeof line, "{\"event\":\"%s\",\"device\":\"%s\"}\n", event, paths[d->number]);
  record(line);
}

/* Temperatures, in millidegrees as the kernel driver shows them. */
enum { kCool = 45000, kHot = 95000 };

static void show_temperature(const struct device* d, int millidegrees) {
  if (settings.states[0] == '\0') return;
  char name[4096], text[16];
  snprintf(name, sizeof name, "%s/%s", settings.states, strrchr(paths[d->number], '/') + 1);
  mkdir(name, 0777);
  strncat(name, "/temp", sizeof name - strlen(name) - 1);
  int n = snprintf(text, sizeof text, "%d\n", millidegrees);
  int f = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (f < 0 || write(f, text, (size_t)n) != n) fprintf(stderr, "stand-in Edge TPU: %s: %s\n", name, strerror(errno));
  if (f >= 0) close(f);
}

static _Noreturn void hang(void) {
  for (;;) pause();
}

struct device* device_open(int number) {
  struct device* d = &devices[number];
  if (fault(kHangOpen, number, INT64_MAX) != NULL) hang();
  if (fault(kBusy, number, INT64_MAX) != NULL) return NULL;
  pthread_mutex_lock(&lock);
  if (d->opened++ == 0) {
    d->number = number;
    record_event("open", d);
    show_temperature(d, kCool);
  }
  open_devices++;
  pthread_mutex_unlock(&lock);
  return d;
}

void device_close(struct device* d) {
  pthread_mutex_lock(&lock);
  open_devices--;
  if (--d->opened == 0) {
    d->token = 0;
    memset(d->loaded, 0, sizeof d->loaded);
    record_event("close", d);
  }
  pthread_mutex_unlock(&lock);
}

bool device_accepts(const struct package* p) { return p->min_runtime <= settings.runtime; }

struct program* device_register(struct device* d, const struct package* p) {
  struct program* program = malloc(sizeof *program);
  if (program == NULL) return NULL;
  program->package = *p;
  program->device = d;
  program->slot = 0;
  pthread_mutex_lock(&lock);
  while (program->slot < kMaxPrograms && d->used[program->slot]) program->slot++;
  if (program->slot < kMaxPrograms) d->used[program->slot] = true; /* its mark stays, as a stale address does */
  pthread_mutex_unlock(&lock);
  if (program->slot == kMaxPrograms) {
    free(program);
    return NULL;
  }
  return program;
}

void device_unregister(struct program* p) {
  pthread_mutex_lock(&lock);
  p->device->used[p->slot] = false;
  pthread_mutex_unlock(&lock);
  free(p);
}

/* Milliseconds that a number of bytes takes on a device's link. */
static double transfer_ms(const struct device* d, double bytes) { return bytes / (settings.mb_per_s[d->number] * 1e3); }

static double compute_ms(const struct package* p) {
  int64_t bytes = p->main.parameter_bytes + (p->caches ? p->caching.parameter_bytes : 0);
  double ms = 0;
  for (int i = 0; i < settings.computes; i++) {
    if (settings.compute[i].parameter_bytes < 0) ms = settings.compute[i].ms;
  }
  for (int i = 0; i < settings.computes; i++) {
    if (settings.compute[i].parameter_bytes == bytes) ms = settings.compute[i].ms;
  }
  ms += settings.compute_ms_per_mb * (double)bytes / 1e6;
  if (settings.clock_mhz > 0) ms += (double)p->main.cycles / (settings.clock_mhz * 1e3);
  return ms;
}

/* noise has mean 0 and standard deviation 1: the sum of twelve even draws, which depend on the call alone. */
static double noise(int64_t call) {
  double sum = -6;
  for (uint64_t i = 0; i < 12; i++) sum += (double)(mix(mix(settings.seed, (uint64_t)call), i) >> 11) / 9007199254740992.0;
  return sum;
}

struct outcome device_call(struct program* p, int64_t requests, void (*outputs)(void* of, bool corrupt), void* of) {
  struct outcome outcome = {false, false};
  struct device* d = p->device;
  const struct package* package = &p->package;
  const struct executable *run = &package->main, *load = package->caches ? &package->caching : NULL;
  pthread_mutex_lock(&d->busy);
  prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds, of this thread */
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  pthread_mutex_lock(&lock);
  int64_t call = ++calls, loaded_bytes = 0, bus_bytes = 0;
  double ms = 0;
  const struct fault* split = load == NULL ? NULL : fault(kSplit, d->number, call);
  int64_t uncached = split == NULL ? 0 : (int64_t)(split->value / 100 * (double)load->parameter_bytes);
  for (int64_t i = 0; i < requests; i++) {
    if (run->token == 0 || run->token != d->token) {
      d->token = 0;
      memset(d->loaded, 0, sizeof d->loaded);
    }
    if (load != NULL && !d->loaded[p->slot]) {
      d->token = load->token;
      d->loaded[p->slot] = true;
      int64_t bytes = load->bus_bytes - uncached;
      double takes = transfer_ms(d, (double)bytes) - settings.overlap_ms;
      loaded_bytes += bytes;
      ms += (takes > 0 ? takes : 0) + settings.overhead_ms;
    }
    double streamed = (double)(run->parameter_bytes + uncached);
    bus_bytes += run->bus_bytes + uncached;
    ms += compute_ms(package) + transfer_ms(d, (double)(run->bus_bytes + uncached) + (settings.stream_factor - 1) * streamed);
  }
  const struct fault *throttled = fault(kThrottle, d->number, call), *corrupt = fault(kCorrupt, d->number, call);
  if (throttled != NULL) ms *= throttled->value;
  double factor = 1 + settings.noise * noise(call);
  ms *= factor > 0.01 ? factor : 0.01;
  outcome.failed = fault(kError, d->number, call) != NULL;
  outcome.corrupt = corrupt != NULL && (corrupt->token == 0 || corrupt->token == run->token);
  bool hangs = fault(kHang, d->number, call) != NULL, unplugged = fault(kUnplug, d->number, call) != NULL;
  pthread_mutex_unlock(&lock);

  if (unplugged) {
    fprintf(stderr, "F stand-in Edge TPU: USB transfer failed: %s is gone\n", paths[d->number]);
    abort();
  }
  if (hangs) hang();
  if (!outcome.failed) outputs(of, outcome.corrupt);
  int64_t ns = (int64_t)(ms * 1e6) + end.tv_nsec;
  end.tv_sec += (time_t)(ns / 1000000000);
  end.tv_nsec = (long)(ns % 1000000000);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR) {
  }
  char line[512];
  snprintf(line, sizeof line,
           "{\"event\":\"call\",\"call\":%" PRId64 ",\"device\":\"%s\",\"model\":\"%016" PRIx64 "\",\"token\":\"0x%016" PRIx64
           "\",\"loaded_bytes\":%" PRId64 ",\"bytes\":%" PRId64 ",\"ms\":%.6f%s%s%s}\n",
           call, paths[d->number], package->identity, run->token, loaded_bytes, loaded_bytes + bus_bytes, ms,
           outcome.failed ? ",\"failed\":true" : "", outcome.corrupt ? ",\"corrupt\":true" : "",
           throttled != NULL ? ",\"throttled\":true" : "");
  record(line);
  show_temperature(d, throttled != NULL ? kHot : kCool);
  pthread_mutex_unlock(&d->busy);
  return outcome;
}
