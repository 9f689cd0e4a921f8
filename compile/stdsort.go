package compile

// edgetpu_compiler lists ops with std::sort of an LLVM libc++ older than 15.
// That sort is not stable, and which of several ops of equal size ends up
// last decides which model loses its op, so the order it leaves for equal
// keys is part of the compiler's behaviour. This file follows that
// algorithm's sequence of comparisons and exchanges; it is tested against
// recorded orders and against the library itself.

// item is one op in the list that is sorted: key ascending, ref travels along.
type item struct {
	key uint64
	ref int32
}

// insertionLimit is the length up to which trivially copyable elements are
// sorted by insertion; wideLimit the length from which five candidates
// instead of three give the pivot; shiftLimit how many moves a range that
// looks sorted may need before it is partitioned after all.
const (
	insertionLimit = 30
	wideLimit      = 1000
	shiftLimit     = 8
)

func swapItems(s []item, i, j int) { s[i], s[j] = s[j], s[i] }

// order3 sorts the elements at a, b, c and returns the number of exchanges.
func order3(s []item, a, b, c int) int {
	if s[b].key >= s[a].key {
		if s[c].key >= s[b].key {
			return 0
		}
		swapItems(s, b, c)
		if s[b].key < s[a].key {
			swapItems(s, a, b)
			return 2
		}
		return 1
	}
	if s[c].key < s[b].key {
		swapItems(s, a, c)
		return 1
	}
	swapItems(s, a, b)
	if s[c].key < s[b].key {
		swapItems(s, b, c)
		return 2
	}
	return 1
}

// sink moves the element at the last of the given places down until its
// predecessor is not larger.
func sink(s []item, places ...int) int {
	n := 0
	for i := len(places) - 1; i > 0 && s[places[i]].key < s[places[i-1]].key; i-- {
		swapItems(s, places[i], places[i-1])
		n++
	}
	return n
}

func order4(s []item, a, b, c, d int) int {
	return order3(s, a, b, c) + sink(s, a, b, c, d)
}

func order5(s []item, a, b, c, d, e int) int {
	n := order4(s, a, b, c, d)
	return n + sink(s, a, b, c, d, e)
}

// orderSmall sorts up to five elements and reports whether that was all of s.
func orderSmall(s []item) bool {
	switch len(s) {
	case 0, 1:
	case 2:
		if s[1].key < s[0].key {
			swapItems(s, 0, 1)
		}
	case 3:
		order3(s, 0, 1, 2)
	case 4:
		order4(s, 0, 1, 2, 3)
	case 5:
		order5(s, 0, 1, 2, 3, 4)
	default:
		return false
	}
	return true
}

// insertAll sorts s by insertion after ordering its first three elements. It
// gives up after the limit-th moved element and reports whether s is sorted.
// limit < 0 never gives up.
func insertAll(s []item, limit int) bool {
	order3(s, 0, 1, 2)
	moved := 0
	for i := 3; i < len(s); i++ {
		if s[i].key >= s[i-1].key {
			continue
		}
		t := s[i]
		k := i
		for k > 0 && t.key < s[k-1].key {
			s[k] = s[k-1]
			k--
		}
		s[k] = t
		if moved++; moved == limit {
			return i+1 == len(s)
		}
	}
	return true
}

// settle sorts s if that is easy: five elements or fewer, or few moves.
func settle(s []item) bool {
	return orderSmall(s) || insertAll(s, shiftLimit)
}

// libcxxSort sorts s by key and leaves equal keys where the algorithm leaves them.
func libcxxSort(s []item) {
	for {
		if orderSmall(s) {
			return
		}
		if len(s) <= insertionLimit {
			insertAll(s, -1)
			return
		}
		i, rest := partition(s)
		switch rest {
		case sortTail:
			s = s[i:]
		case sortNothing:
			return
		case sortBoth, sortBothEasy:
			if rest == sortBothEasy {
				left := settle(s[:i])
				if settle(s[i+1:]) {
					if left {
						return
					}
					s = s[:i]
					continue
				}
				if left {
					s = s[i+1:]
					continue
				}
			}
			if i < len(s)-i {
				libcxxSort(s[:i])
				s = s[i+1:]
			} else {
				libcxxSort(s[i+1:])
				s = s[:i]
			}
		}
	}
}

// what is left to do after a partition
type remainder int

const (
	sortNothing  remainder = iota
	sortTail               // [0,i) is in place
	sortBoth               // [0,i) and [i+1,n)
	sortBothEasy           // the same, and nothing had to be exchanged: they may be sorted already
)

// partition brings a pivot to place i with nothing larger before and nothing smaller behind it.
func partition(s []item) (i int, rest remainder) {
	n := len(s)
	m := n / 2
	last := n - 1
	var swaps int
	if n >= wideLimit {
		swaps = order5(s, 0, m/2, m, m+m/2, last)
	} else {
		swaps = order3(s, 0, m, last)
	}
	j := last
	if s[0].key >= s[m].key {
		// the first element equals the pivot: look from behind for one that may stand before it
		for {
			j--
			if j == 0 {
				return partitionEqual(s)
			}
			if s[j].key < s[m].key {
				swapItems(s, 0, j)
				swaps++
				break
			}
		}
	}
	i = 1
	if i < j {
		for {
			for s[i].key < s[m].key {
				i++
			}
			j--
			for s[j].key >= s[m].key {
				j--
			}
			if i > j {
				break
			}
			swapItems(s, i, j)
			swaps++
			if m == i {
				m = j
			}
			i++
		}
	}
	if i != m && s[m].key < s[i].key {
		swapItems(s, i, m)
		swaps++
	}
	if swaps == 0 {
		return i, sortBothEasy
	}
	return i, sortBoth
}

// partitionEqual handles a pivot that is the smallest key: everything equal to it goes first.
func partitionEqual(s []item) (int, remainder) {
	first := s[0].key
	i, j := 1, len(s)-1
	if first >= s[j].key {
		for {
			if i == j {
				return 0, sortNothing
			}
			if first < s[i].key {
				swapItems(s, i, j)
				i++
				break
			}
			i++
		}
	}
	if i == j {
		return 0, sortNothing
	}
	for {
		for first >= s[i].key {
			i++
		}
		j--
		for first < s[j].key {
			j--
		}
		if i >= j {
			return i, sortTail
		}
		swapItems(s, i, j)
		i++
	}
}
