#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void wrong(const char* name, const char* value) {
  fprintf(stderr, "stand-in Edge TPU: %s=%s makes no sense\n", name, value);
  exit(2);
}

static const char* variable(const char* name) {
  const char* value = getenv(name);
  return value != NULL && value[0] != '\0' ? value : NULL;
}

/* number reads a number from 0 to most and says where it ends. */
static double number(const char* name, const char* text, double most, const char** end) {
  char* stop;
  double n = strtod(text, &stop);
  if (stop == text || !(n >= 0 && n <= most)) wrong(name, text);
  *end = stop;
  return n;
}

static double only_number(const char* name, double otherwise, double most) {
  const char *text = variable(name), *end;
  if (text == NULL) return otherwise;
  double n = number(name, text, most, &end);
  if (*end != '\0') wrong(name, text);
  return n;
}

static void only_path(const char* name, char* into, size_t size) {
  const char* text = variable(name);
  if (text == NULL) return;
  if (strlen(text) >= size) wrong(name, text);
  strcpy(into, text);
}

static void read_devices(struct settings* s) {
  const char *name = "TPUPLAN_STANDIN_DEVICES", *text = variable(name), *at = text;
  s->devices = 1;
  s->usb[0] = true;
  if (text == NULL) return;
  for (s->devices = 0; s->devices < kMaxDevices; at++) {
    bool usb = strncmp(at, "usb", 3) == 0;
    if (!usb && strncmp(at, "pci", 3) != 0) wrong(name, text);
    s->usb[s->devices++] = usb;
    at += 3;
    if (*at == '\0') return;
    if (*at != ',') break;
  }
  wrong(name, text);
}

/* read_rates: one rate for each device, the last one holds for the rest. */
static void read_rates(struct settings* s) {
  const char *name = "TPUPLAN_STANDIN_MB_PER_S", *text = variable(name), *at = text == NULL ? "400" : text;
  for (int i = 0; i < kMaxDevices; i++) {
    if (i > 0 && *at == '\0') {
      s->mb_per_s[i] = s->mb_per_s[i - 1];
      continue;
    }
    s->mb_per_s[i] = number(name, at, 1e6, &at);
    if (s->mb_per_s[i] < 0.001 || (*at != ',' && *at != '\0')) wrong(name, text);
    if (*at == ',') at++;
  }
}

/* read_computes: MS for every model, PARAMETER_BYTES=MS for one. */
static void read_computes(struct settings* s) {
  const char *name = "TPUPLAN_STANDIN_COMPUTE_MS", *text = variable(name), *at = text;
  if (text == NULL) return;
  for (;; at++) {
    if (s->computes == kMaxComputes) wrong(name, text);
    struct compute* c = &s->compute[s->computes++];
    double n = number(name, at, 1e12, &at);
    c->parameter_bytes = -1;
    if (*at == '=') {
      c->parameter_bytes = (int64_t)n;
      n = number(name, at + 1, 1e7, &at);
    }
    c->ms = n;
    if (*at == '\0') return;
    if (*at != ',') wrong(name, text);
  }
}

static const struct {
  const char* name;
  enum fault_kind kind;
  double value, most; /* most 0: takes no value */
} kinds[] = {
    {"unplug", kUnplug, 0, 0},  {"hang", kHang, 0, 0},          {"error", kError, 0, 0},
    {"corrupt", kCorrupt, 0, 0}, {"throttle", kThrottle, 2, 1e6}, {"split", kSplit, 50, 100},
    {"busy", kBusy, 0, 0},      {"hang-open", kHangOpen, 0, 0}, {"gone", kGone, 0, 0},
};

/* read_faults: KIND[:DEVICE][@CALL][=VALUE], separated by commas. */
static void read_faults(struct settings* s) {
  const char *name = "TPUPLAN_STANDIN_FAULT", *text = variable(name), *at = text;
  if (text == NULL) return;
  for (;; at++) {
    size_t length = strcspn(at, ":@=,"), i = 0, n = sizeof kinds / sizeof *kinds;
    while (i < n && (strlen(kinds[i].name) != length || strncmp(kinds[i].name, at, length) != 0)) i++;
    if (i == n || s->faults == kMaxFaults) wrong(name, text);
    struct fault* f = &s->fault[s->faults++];
    *f = (struct fault){kinds[i].kind, -1, 1, kinds[i].value, 0};
    at += length;
    if (*at == ':') f->device = (int)number(name, at + 1, kMaxDevices - 1, &at);
    if (*at == '@') f->call = (int64_t)number(name, at + 1, 1e15, &at);
    if (*at == '=' && f->kind == kCorrupt) {
      char* stop;
      f->token = strtoull(at + 1, &stop, 0);
      if (f->token == 0) wrong(name, text);
      at = stop;
    } else if (*at == '=' && kinds[i].most > 0) {
      f->value = number(name, at + 1, kinds[i].most, &at);
    }
    if (*at == '\0') return;
    if (*at != ',') wrong(name, text);
  }
}

void settings_read(struct settings* s) {
  memset(s, 0, sizeof *s);
  read_devices(s);
  read_rates(s);
  read_computes(s);
  read_faults(s);
  s->overhead_ms = only_number("TPUPLAN_STANDIN_OVERHEAD_MS", 0.43, 1e6);
  s->overlap_ms = only_number("TPUPLAN_STANDIN_OVERLAP_MS", 0, 1e6);
  s->stream_factor = only_number("TPUPLAN_STANDIN_STREAM_FACTOR", 1, 1e3);
  s->clock_mhz = only_number("TPUPLAN_STANDIN_CLOCK_MHZ", 0, 1e5);
  s->compute_ms_per_mb = only_number("TPUPLAN_STANDIN_COMPUTE_MS_PER_MB", 0, 1e6);
  s->noise = only_number("TPUPLAN_STANDIN_NOISE_PCT", 0, 100) / 100;
  s->seed = (uint64_t)only_number("TPUPLAN_STANDIN_SEED", 1, 9007199254740992.0);
  s->runtime = (int)only_number("TPUPLAN_STANDIN_RUNTIME", 14, 1000);
  s->absent_ms = only_number("TPUPLAN_STANDIN_ABSENT_MS", 25000, 1e6);
  only_path("TPUPLAN_STANDIN_LOG", s->log, sizeof s->log);
  only_path("TPUPLAN_STANDIN_APEX", s->states, sizeof s->states);
}
