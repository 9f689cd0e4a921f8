package schematest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tpuplan/tpuplan/plans/schema"
)

const model = `{"name": "a", "share": 1, "steady_ms": 2, "cold_ms": 9.5, "expected_ms": 2, "call_hit_rate": 1, "byte_hit_rate": 0.5,
	"cached_bytes": 10, "streamed_bytes": 10, "load_bytes": 20, "loads_per_call": 0, "compute_included": false, "source": "modelled", "certainty": "strong"}`

const plan = `{"schema": "tpuplan/plan/v1", "compiler": "16.0", "status": "optimal", "objective": {"kind": "time", "value": 2, "unit": "ms_per_call"},
	"bound": 2, "gap": 0, "nodes": 3, "devices": [{"name": "tpu0", "groups": [{"name": "tpu0-1", "models": ["a"], "argv": ["edgetpu_compiler", "-o", "x", "a.tflite"]}]}],
	"models": [` + model + `], "baselines": [{"name": "separate", "value": 2, "feasible": true}, {"name": "by-rate", "feasible": false}], "warnings": []}`

var withStability = strings.Replace(plan, `"warnings"`, `"stability": [{"assumption": "31 to 68 rows", "unit": "rows", "low": 31, "high": 68, "assumed": 36, "plan_changes": true,
	"changes_at_least": 49, "regret_ms": 4.2, "worst_at": 49, "better": [["a"]], "checked": "all", "values_tried": 9, "settled_by": "a compile", "settled_by_compile_of": ["a"]},
	{"assumption": "against what is assumed, a rule", "plan_changes": false, "regret_ms": 0, "checked": "all", "values_tried": 1, "settled_by": "a compile"}], "warnings"`, 1)

const simulation = `{"schema": "tpuplan/simulation/v1", "source": "simulated", "compiler": "16.0", "decision": "lock", "compute_included": true,
	"workload": {"kind": "rates", "seed": 1, "calls": 2, "timed": true}, "runs": [
	{"name": "plan", "feasible": true, "calls": 2, "loads": 1, "hits": 1, "bytes": 9, "simulated_ms": 3, "loads_per_call": 0.5,
		"percentiles_ms": {"p50": 1, "p90": 5, "p99": 5, "max": 5, "exact": true},
		"devices": [{"name": "tpu0", "groups": [{"name": "tpu0-1", "models": ["a", "b"]}], "utilization": "overloaded", "predicted_utilization": 0.5}],
		"models": [{"name": "a", "device": "tpu0", "compute_included": true, "calls": 2, "loads": 1, "hits": 1, "bytes": 9},
			{"name": "b", "device": "tpu0", "compute_included": true, "calls": 0, "loads": 0, "hits": 0, "bytes": 0}]},
	{"name": "as-given", "feasible": false}]}`

// Each kind accepts what the machine interface describes and refuses one change of it.
func TestValidate(t *testing.T) {
	tests := []struct {
		kind, good string
		from, to   string
		wrong      string // part of the error after the change
	}{
		{"plan", plan, `"gap": 0`, `"gap": "0"`, "/gap"},
		{"plan", plan, `"feasible": true`, `"feasible": true, "value": null`, "value"},
		{"plan", plan, `"nodes": 3,`, ``, "nodes"},
		{"plan", plan, `tpuplan/plan/v1`, `tpuplan/plan/v2`, "tpuplan/plan/v1"},
		{"plan", plan, `"share": 1,`, ``, "share"},
		{"plan", withStability, `"plan_changes": true`, `"plan_changes": "yes"`, "plan_changes"},
		{"plan", withStability, `"better": [["a"]], `, ``, "better"},
		{"plan", withStability, `"low": 31, `, ``, "low"},
		{"plan", withStability, `"settled_by": "a compile"`, `"settled_by": ""`, "settled_by"},
		{"plan", withStability, `"checked": "all"`, `"checked": "well"`, "checked"},
		{"plan", `{"schema": "tpuplan/plan/v1", "compiler": "16.0", "status": "infeasible", "new": 1}`, `infeasible`, `optimal`, "objective"},
		{"plans", `{"schema": "tpuplan/plans/v1", "plans": [` + plan + `, ` + plan + `], "pinning": [{"compiler": "15.0", "value": 2, "unit": "ms_per_call", "delta": -0.5}]}`, `"optimal"`, `"good"`, "status"},
		{"validation", `{"schema": "tpuplan/validation/v1", "source": "simulated", "compiler": "16.0", "lock": "plan.lock.json", "devices": ["usb"], "workload": {"kind": "rates", "seed": 1, "calls": 300, "passes": 5},
			"tolerance_pct": 10, "passed": false, "compute_included": true, "models": [{"name": "a", "compute_source": "validation", "compute_ms": 3, "compute_from": "separate"}],
			"runs": [{"name": "plan", "feasible": true, "passes": 5, "calls": 300, "loads": 3, "bytes": 9, "predicted_ms": 2, "measured_ms": 3, "ci_ms": [2, 4], "error_pct": -33, "verdict": "~", "mape_pct": 33, "models": [
				{"name": "a", "tokens": ["0x1f"], "cached_bytes": 1, "streamed_bytes": 0, "calls": 300, "loads": 3, "bytes": 9, "predicted_ms": 2, "measured_ms": 3, "verdict": "outside"}]},
				{"name": "separate", "feasible": true, "missing": ["build/alone/a_edgetpu.tflite"], "predicted_ms": 4}, {"name": "as-given", "feasible": false}],
			"pairs": [], "streaming": [], "findings": [{"kind": "bandwidth", "fails": true, "text": "t", "runs": ["plan"], "evidence": {"factor": 0.5}}],
			"settled": [{"assumption": "x", "as": "settled", "plan_changes": false, "text": "t"}], "warnings": []}`, `"kind": "bandwidth"`, `"kind": "weather"`, "kind"},
		{"predict", `{"schema": "tpuplan/predict/v1", "compiler": "15.0", "capacity_bytes": 8192, "reserved_rows": -32, "reserved_rows_source": "flag", "remaining_bytes": 0, "rule_certainty": "exact",
			"models": [{"file": "a.tflite", "parameter_bytes": 1, "cached_bytes": 1, "on_chip_bytes": 256, "streamed_bytes": 0, "certainty": "exact", "fits": true, "subgraphs": 1, "operations": 1, "tpu_operations": 1, "cpu_operations": 0,
			"ops": [{"index": 0, "op": "CONV_2D", "mapped": true, "reason": "Mapped to Edge TPU", "bytes": 1, "rows": 1, "cached": true, "certainty": "exact"}]}]}`, `"fits": true,`, ``, "fits"},
		{"run", `{"schema": "tpuplan/run/v1", "run": "r", "device": "", "models": [{"name": "a", "file": "a_edgetpu.tflite", "warm_bytes": 10}], "steps": [{"model": 0, "kind": "first"}, {"model": 0}],
			"repeats": 1, "warm_up": 0, "seed": 0, "deadline_ms": 10}`, `"kind": "first"`, `"kind": "create"`, "kind"},
		{"sample", `{"schema": "tpuplan/sample/v1", "run": "r", "model": "a", "kind": "load", "ms": 1.5, "source": "measured", "bytes": 7}`, `"measured"`, `"guessed"`, "source"},
		{"event", `{"schema": "tpuplan/event/v1", "action": "call", "model": "a", "call": 7}`, `"call", "m`, `"fly", "m`, "action"},
		{"event", `{"schema": "tpuplan/event/v1", "failure": {"code": "silent", "text": "t"}}`, `"silent"`, `"quiet"`, "code"},
		{"profile", `{"schema": "tpuplan/profile/v1", "samples": 6, "summaries": [{"model": "a", "kind": "steady", "source": "measured", "samples": 6, "median_ms": 2, "ci_ms": [1, 3], "confidence": 0.97}],
			"costs": [{"model": "a", "source": "measured", "steady_ms": 2}], "warnings": [{"kind": "no_load", "text": "t"}]}`, `, "confidence": 0.97`, ``, "confidence"},
		{"validation", `{"schema": "tpuplan/validation/v1", "source": "simulated", "compiler": "16.0", "lock": "plan.lock.json", "devices": ["usb"], "workload": {"kind": "rates", "seed": 1, "calls": 300, "passes": 5},
			"tolerance_pct": 10, "passed": false, "compute_included": true, "models": [{"name": "a", "compute_source": "validation", "compute_ms": 3, "compute_from": "separate"}],
			"runs": [{"name": "plan", "feasible": true, "passes": 5, "calls": 300, "loads": 3, "bytes": 9, "predicted_ms": 2, "measured_ms": 3, "ci_ms": [2, 4], "error_pct": -33, "verdict": "~", "mape_pct": 33, "models": [
				{"name": "a", "tokens": ["0x1f"], "cached_bytes": 1, "streamed_bytes": 0, "calls": 300, "loads": 3, "bytes": 9, "predicted_ms": 2, "measured_ms": 3, "verdict": "outside"}]},
				{"name": "separate", "feasible": true, "missing": ["build/alone/a_edgetpu.tflite"], "predicted_ms": 4}, {"name": "as-given", "feasible": false}],
			"pairs": [], "streaming": [], "findings": [{"kind": "bandwidth", "fails": true, "text": "t", "runs": ["plan"], "evidence": {"factor": 0.5}}],
			"settled": [{"assumption": "x", "as": "settled", "plan_changes": false, "text": "t"}], "warnings": []}`, `"kind": "bandwidth"`, `"kind": "weather"`, "kind"},
		{"predict", `{"schema": "tpuplan/predict/v1", "compiler": "15.0", "rule_certainty": "exact", "models": [{"file": "a.tflite", "failure": {"kind": "not_quantized", "text": "Model not quantized"}}]}`, `not_quantized`, `other_kind`, "kind"},
		{"inspect", `{"schema": "tpuplan/inspect/v1", "files": [
			{"file": "a.tflite", "sha256": "` + strings.Repeat("0a", 32) + `", "kind": "source", "quantization": "uint8", "inputs": [], "outputs": [], "ops": []},
			{"file": "b.tflite", "sha256": "` + strings.Repeat("0a", 32) + `", "kind": "compiled", "cached_bytes": 1, "streamed_bytes": 2, "packages": [{"token": "0x1f", "executables": [{"type": "stand_alone", "parameter_bytes": 3}]}]}],
			"groups": [{"token": "0x1f", "files": ["b.tflite"]}]}`, `"kind": "source"`, `"kind": "compiled"`, "packages"},
		{"simulation", simulation, `"utilization": "overloaded"`, `"utilization": 1.5`, "utilization"},
		{"simulation", simulation, `"seed": 1, `, ``, "seed"},
		{"simulation", simulation, `"feasible": true`, `"feasible": false`, "/runs/0"},
		{"simulation", simulation, `"simulated_ms": 3, `, ``, "simulated_ms"},
		{"simulation", simulation, `"source": "simulated"`, `"source": "measured"`, "source"},
	}
	for _, tt := range tests {
		if err := Validate(tt.kind, []byte(tt.good)); err != nil {
			t.Errorf("%s: %v", tt.kind, err)
			continue
		}
		bad := strings.Replace(tt.good, tt.from, tt.to, 1)
		if err := Validate(tt.kind, []byte(bad)); err == nil || !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s with %s for %s: %v, want an error about %s", tt.kind, tt.to, tt.from, err, tt.wrong)
		}
	}
	if err := Validate("nonsense", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), `no schema for "nonsense" (known: `+strings.Join(schema.Kinds(), ", ")) {
		t.Errorf("unknown kind: %v", err)
	}
	if err := Validate("plan", []byte(`{`)); err == nil {
		t.Error("cut JSON passes")
	}
}

// A schema says which object it is for, and forbids nothing that may be added later.
func TestSchemasAreOpen(t *testing.T) {
	for _, kind := range schema.Kinds() {
		data, err := schema.Of(kind)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Title string `json:"title"`
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Title != "tpuplan/"+kind+"/v1" {
			t.Errorf("%s: title %q, error %v", kind, s.Title, err)
		}
		if strings.Contains(string(data), "additionalProperties") {
			t.Errorf("%s closes an object", kind)
		}
	}
}
