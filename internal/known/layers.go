package known

import (
	"fmt"
	"slices"
)

// LayerList is a public architecture without its edges.
type LayerList struct {
	Net        string  `json:"net"`
	InputBytes int     `json:"input_bytes"`
	Layers     []Layer `json:"layers"`
}

// Layer is one layer of a list. Concatenations and a softmax at the end are not listed.
type Layer struct {
	Op     string `json:"op"` // POOL may be either pool
	Out    Shape  `json:"out"`
	In     Shape  `json:"in"`
	Kernel [2]int `json:"kernel"`
}

// ReadLayers reads a file of layer lists, layers.jsonl of the data set.
func ReadLayers(path string) ([]LayerList, error) {
	list, err := lines[LayerList](path)
	if err != nil {
		return nil, err
	}
	for i := range list {
		l := &list[i]
		if len(l.Layers) == 0 || l.Layers[0].In.elements() != l.InputBytes {
			return nil, fmt.Errorf("%s: %s: %d bytes of input are not those of the first layer", path, l.Net, l.InputBytes)
		}
	}
	return list, nil
}

// wiring gives a layer list its edges.
type wiring struct {
	Graph
	list   *LayerList
	read   []bool // by tensor
	offset []int  // tensors that a constant was added to: what a dense block goes on with
	dense  bool
	last   map[[2]int]int // the last layer that reads a height and width
	order  []choice
	tries  int
	far    int // the layer that came farthest and failed, and why: what to tell if all fails
	why    error
}

// maxTries ends a search. The public lists take at most 450 in one of the orders.
const maxTries = 2_000

// Graph reconstructs the edges, and adds what lists leave out: concatenations,
// the pool of a shortcut that changes the size, and the softmax of a
// classifier. A layer reads a tensor of its input shape:
//   - the newest one that nobody has read;
//   - else the newest one there is;
//   - else, where tensors that nobody has read have its channels together, their concatenation.
//
// Where a layer then finds nothing to read, or a tensor is left that nobody
// can read any more, the last such decision was wrong and the next best is taken.
// If that leads nowhere for long, concatenations come before old tensors: nets
// of many blocks of one shape are found only that way.
//
// An ADD joins the newest tensor with another one of its shape. In a dense block, where
// nothing is ever added to another tensor, it is what is left of a batch
// norm and adds constants; the block goes on with the tensor before it.
func (l *LayerList) Graph() (*Graph, error) {
	if len(l.Layers) == 0 {
		return nil, fmt.Errorf("%s: no layers", l.Net)
	}
	orders := [][]choice{{fresh, old, joined}, {fresh, joined, old}}
	if l.dense() {
		orders = orders[1:] // old tensors often have the shape of a concatenation there
	}
	var w *wiring
	for _, order := range orders {
		w = &wiring{Graph: Graph{Net: l.Net, Input: l.Layers[0].In}, list: l, read: []bool{false}, dense: l.dense(), last: map[[2]int]int{}, order: order}
		for i := range l.Layers {
			w.last[[2]int(l.Layers[i].In[:2])] = i
		}
		if w.solve(0) {
			return w.finish()
		}
	}
	return nil, fmt.Errorf("%s: layer %d: %w", l.Net, w.far, w.why)
}

// finish adds the softmax.
func (w *wiring) finish() (*Graph, error) {
	last := len(w.Ops)
	if s := w.shape(last); s[0] == 1 && s[1] == 1 {
		w.put(GraphOp{Op: "SOFTMAX", In: []int{last}, Shape: s})
	}
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", w.Net, err)
	}
	return &w.Graph, nil
}

// dense reports a net with an ADD directly behind its first pool: there is
// nothing yet that could be added.
func (l *LayerList) dense() bool {
	for i := range l.Layers {
		if l.Layers[i].Op == "POOL" {
			return i+1 < len(l.Layers) && l.Layers[i+1].Op == "ADD"
		}
	}
	return false
}

func (w *wiring) put(o GraphOp) int {
	for _, t := range o.In {
		w.read[t] = true
	}
	w.read = append(w.read, false)
	return w.add(o)
}

// solve wires the layers from i on, and leaves everything as it was if that is impossible.
func (w *wiring) solve(i int) bool {
	// all but the newest tensor, which the next layer may flatten, must find a layer that reads their size
	for t := range len(w.Ops) {
		if s := w.shape(t); !w.read[t] && w.last[[2]int(s[:2])] < i {
			return w.fail(i, fmt.Errorf("nothing reads tensor %d, %v", t, s))
		}
	}
	if i == len(w.list.Layers) {
		return true
	}
	ops, read, offset := len(w.Ops), slices.Clone(w.read), slices.Clone(w.offset)
	for n := range w.choices(i) {
		if w.tries++; w.tries > maxTries {
			return false
		}
		if err := w.layer(i, n); err != nil {
			w.fail(i, err)
		} else if w.solve(i + 1) {
			return true
		}
		w.Ops, w.read, w.offset = w.Ops[:ops], slices.Clone(read), slices.Clone(offset)
	}
	return false
}

// choices is how many ways there are to find what a layer reads.
func (w *wiring) choices(i int) int {
	if w.adds(i) || w.forks(i) {
		return 1
	}
	return len(w.order)
}

// adds reports a layer that joins two tensors.
func (w *wiring) adds(i int) bool { return w.list.Layers[i].Op == "ADD" && !w.dense }

// fail notes why the layer that came farthest failed first.
func (w *wiring) fail(i int, why error) bool {
	if i > w.far || w.why == nil {
		w.far, w.why = i, why
	}
	return false
}

// layer adds a layer that reads the tensor of its nth choice.
func (w *wiring) layer(i, n int) (err error) {
	x := &w.list.Layers[i]
	o := GraphOp{Op: x.Op, Shape: x.Out}
	if w.adds(i) {
		if o.In, err = w.addends(x.In); err == nil {
			w.put(o)
		}
		return err
	}
	in, ok := 0, true
	if w.forks(i) {
		in = w.Ops[len(w.Ops)-1].In[0]
	} else {
		in, ok = w.order[n](w, x.In)
	}
	if !ok {
		return fmt.Errorf("%s: nothing before it has the shape %v", x.Op, x.In)
	}
	o.In = []int{in}
	switch x.Op {
	case "POOL":
		o.Op = "MAX_POOL_2D"
		if x.In == x.Out && w.list.averages() || w.dense && x.Kernel == [2]int{2, 2} {
			o.Op = "AVERAGE_POOL_2D"
		}
		fallthrough
	case "CONV_2D", "DEPTHWISE_CONV_2D":
		o.Kernel, o.Stride = x.Kernel, 1
		for _, fits := padding(x.In, x.Out, x.Kernel, o.Stride); !fits; _, fits = padding(x.In, x.Out, x.Kernel, o.Stride) {
			if o.Stride++; o.Stride > x.In[0] {
				return fmt.Errorf("%s: no stride of %v turns %v into %v", x.Op, x.Kernel, x.In, x.Out)
			}
		}
	case "ADD":
		w.offset = append(w.offset, in)
	}
	w.put(o)
	return nil
}

// averages reports a net whose pools of stride 1 are averages: those with
// asymmetric kernels, from the third Inception on.
func (l *LayerList) averages() bool {
	return slices.ContainsFunc(l.Layers, func(x Layer) bool { return x.Kernel[0] != x.Kernel[1] })
}

// forks reports a layer that reads what the layer before it does: the second
// of a pair 1 x 3 and 3 x 1 of one shape (Inception v3; longer ones are chains).
func (w *wiring) forks(i int) bool {
	if i == 0 {
		return false
	}
	a, b := &w.list.Layers[i-1], &w.list.Layers[i]
	return a.In == b.In && a.Op == b.Op && a.In == a.Out && max(a.Kernel[0], a.Kernel[1]) == 3 &&
		a.Kernel[0] != a.Kernel[1] && a.Kernel == [2]int{b.Kernel[1], b.Kernel[0]}
}

// newest is the newest tensor that is as wanted.
func (w *wiring) newest(want func(t int, s Shape) bool) (int, bool) {
	for t := len(w.Ops); t >= 0; t-- {
		if want(t, w.shape(t)) {
			return t, true
		}
	}
	return 0, false
}

// choice is a way to find or make the tensor that a layer reads.
type choice func(w *wiring, in Shape) (tensor int, ok bool)

// fresh is the newest tensor of a shape that nobody has read; FULLY_CONNECTED flattens one.
func fresh(w *wiring, in Shape) (int, bool) {
	return w.newest(func(t int, s Shape) bool {
		flattened := in[0] == 1 && in[1] == 1 && s.elements() == in[2]
		return !w.read[t] && (s == in || flattened)
	})
}

// old is the newest tensor of a shape that somebody has read.
func old(w *wiring, in Shape) (int, bool) {
	return w.newest(func(t int, s Shape) bool { return w.read[t] && s == in })
}

// joined makes a concatenation of all tensors of a height and width that nobody
// has read, and in a dense block of what the block goes on with.
func joined(w *wiring, in Shape) (int, bool) {
	var parts []int
	channels := 0
	for t := range len(w.Ops) + 1 {
		if s := w.shape(t); !w.read[t] && s[0] == in[0] && s[1] == in[1] {
			parts = append(parts, t)
			channels += s[2]
		}
	}
	if w.dense && len(parts) > 0 {
		rest := Shape{in[0], in[1], in[2] - channels}
		t, ok := w.newest(func(t int, s Shape) bool { return s == rest && slices.Contains(w.offset, t) })
		if !ok {
			return 0, false
		}
		parts, channels = append([]int{t}, parts...), in[2]
	}
	if len(parts) < 2 || channels != in[2] {
		return 0, false
	}
	return w.put(GraphOp{Op: "CONCATENATION", In: parts, Shape: in}), true
}

// addends are the two tensors that an ADD joins: the newest one that nobody
// has read, and another such one, or the newest one that is not what the op
// before made it from, or a larger one that is thinned out.
func (w *wiring) addends(shape Shape) ([]int, error) {
	unread := func(but int) (int, bool) {
		return w.newest(func(t int, s Shape) bool { return t != but && !w.read[t] && s == shape })
	}
	a, ok := unread(-1)
	if !ok {
		return nil, fmt.Errorf("nobody made anything that could be added")
	}
	if b, ok := unread(a); ok {
		return []int{a, b}, nil
	}
	if b, ok := w.newest(func(t int, s Shape) bool {
		return t != a && s == shape && !(a > 0 && slices.Contains(w.Ops[a-1].In, t))
	}); ok {
		return []int{a, b}, nil
	}
	// ResNet v2 takes every second place of its shortcut where a block changes the size
	b, ok := w.newest(func(_ int, s Shape) bool {
		_, fits := padding(s, shape, [2]int{1, 1}, 2)
		return fits && s[2] == shape[2]
	})
	if !ok {
		return nil, fmt.Errorf("there is nothing to add to tensor %d", a)
	}
	return []int{a, w.put(GraphOp{Op: "MAX_POOL_2D", In: []int{b}, Shape: shape, Kernel: [2]int{1, 1}, Stride: 2})}, nil
}
