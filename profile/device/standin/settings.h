/* What the stand-in is told to be: see docs/standin.md, which lists the same
 * variables. */
#ifndef STANDIN_SETTINGS_H_
#define STANDIN_SETTINGS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { kMaxDevices = 16, kMaxFaults = 16, kMaxComputes = 64 };

enum fault_kind {
  kUnplug,   /* the process aborts, as libedgetpu makes it */
  kHang,     /* the call never ends */
  kError,    /* the call fails */
  kCorrupt,  /* the outputs are wrong; value: only models of that token */
  kThrottle, /* calls take value times as long */
  kSplit,    /* value per cent of the cached parameters are sent in every call */
  kBusy,     /* the device cannot be opened */
  kHangOpen, /* opening it never ends */
  kGone,     /* it is not listed */
};

struct fault {
  enum fault_kind kind;
  int device;   /* -1: any */
  int64_t call; /* from which call of the process on, counted from 1 */
  double value;
  uint64_t token;
};

struct compute {
  int64_t parameter_bytes; /* -1: of every model */
  double ms;
};

struct settings {
  int devices;
  bool usb[kMaxDevices];
  double mb_per_s[kMaxDevices];
  double overhead_ms, overlap_ms;
  double stream_factor;
  double clock_mhz;
  double compute_ms_per_mb;
  int computes;
  struct compute compute[kMaxComputes];
  double noise; /* standard deviation, as a part of a call's time */
  uint64_t seed;
  int runtime;
  double absent_ms;
  int faults;
  struct fault fault[kMaxFaults];
  char log[4096];    /* file, "" for none */
  char states[4000]; /* folder for the devices' temperatures, "" for none */
};

/* Reads the environment. A value that makes no sense ends the process: a test
 * must not pass because its settings were not understood. */
void settings_read(struct settings* s);

#endif
