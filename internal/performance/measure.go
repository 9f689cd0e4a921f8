package performance

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// Processor reports whether this system tells the processor time of a program.
func Processor() bool { return processorTime() >= 0 }

// heap is how many bytes objects take, those that are garbage included.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// measure runs something and looks at the heap every millisecond meanwhile.
func measure(run func()) Spent {
	runtime.GC()
	before := heap()
	most := make(chan uint64)
	done := make(chan struct{})
	go func() {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		peak := before
		for {
			select {
			case <-ticks.C:
				peak = max(peak, heap())
			case <-done:
				most <- peak
				return
			}
		}
	}()
	start := processorTime()
	run()
	spent := processorTime() - start
	end := heap()
	close(done)
	return Spent{Milliseconds: spent, Heap: max(<-most, end) - before}
}
