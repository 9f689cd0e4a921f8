package cost

// runs is independent calls of whole runs.
type runs struct {
	first  Process // who is called first in a run, as the independent calls that these are
	length float64 // mean, at least 1
}

// Runs is the process in which calls come in runs of one model, as when a
// camera passes frame after frame through one network: the model of each run
// is drawn by itself, model m with probability shares[m], and has length calls
// on average. Neighbouring runs may be of the same model.
//
// Only the first call of a run can find its parameters gone, and does with the
// probability of an independent call. Of all calls 1 in length is the first of
// its run (renewal reward: Ross, Stochastic Processes, 2nd edition, theorem
// 3.6.1), so the miss probability is q / (p + q) / length, with p the share of
// m and q the sum of the foreign shares. How the lengths scatter about their
// mean does not matter, as long as it is the same for all models. Two equal models in
// two groups miss every second call in runs of 1, every twentieth in runs of 10.
//
// A length of 1 is [Independent], bit for bit; one below 1 is taken for 1.
// shares are as there.
func Runs(shares []float64, length float64) Process {
	return runs{Independent(shares), max(1, length)}
}

func (p runs) Miss(m int, foreign Set) float64 { return p.first.Miss(m, foreign) / p.length }
