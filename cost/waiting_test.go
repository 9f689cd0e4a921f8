package cost

import "testing"

// Textbook values of one server with arrivals at random.
func TestQueue(t *testing.T) {
	for _, tt := range []struct {
		name       string
		models     []Served
		busy, wait float64
	}{
		// M/D/1: rho x time / (2 (1-rho))
		{"equal times", []Served{{PerMS: 0.05, SteadyMS: 10, ColdMS: 10}}, 0.5, 5},
		{"equal times of two models", []Served{{PerMS: 0.02, SteadyMS: 10, ColdMS: 10, Miss: 0.5}, {PerMS: 0.03, SteadyMS: 10, ColdMS: 10}}, 0.5, 5},
		// warm 2, cold 42, one half each: mean 22, mean square (4 + 1764)/2 = 884; 0.01 x 884 / (2 x 0.78)
		{"warm and cold", []Served{{PerMS: 0.01, SteadyMS: 2, ColdMS: 42, Miss: 0.5}}, 0.22, 0.01 * 884 / 1.56},
		// 0.1 x (0.9 x 2 + 0.1 x 12) = 0.3 and 0.02 x 10 = 0.2; squares 0.1 x (0.9 x 4 + 0.1 x 144) + 0.02 x 100 = 3.8
		{"two models", []Served{{PerMS: 0.1, SteadyMS: 2, ColdMS: 12, Miss: 0.1}, {PerMS: 0.02, SteadyMS: 10, ColdMS: 99}}, 0.5, 3.8},
		{"nobody calls", []Served{{SteadyMS: 2, ColdMS: 3, Miss: 1}}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := NewQueue(tt.models)
			near(t, "utilisation", float64(q.Utilization), tt.busy, 1e-12)
			wait, ok := q.MeanWaitMS()
			if !ok || q.Utilization.Overloaded() {
				t.Fatal("overloaded")
			}
			near(t, "wait", wait, tt.wait, 1e-12)
		})
	}
	for _, perMS := range []float64{0.1, 0.2} { // just full, and more than full
		q := NewQueue([]Served{{PerMS: perMS, SteadyMS: 10, ColdMS: 10}})
		if wait, ok := q.MeanWaitMS(); ok || wait != 0 || !q.Utilization.Overloaded() {
			t.Errorf("%v of a device gives a wait of %v, %v", q.Utilization, wait, ok)
		}
	}
}
