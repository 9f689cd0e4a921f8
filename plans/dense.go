package plans

import "reflect"

// What decoding a JSON text into a lock takes per value, at most: objects
// become structs and other items strings, in lists that grow by copies, four
// times the size of what they hold. That of the models, whose structs are the
// largest, is made as long as it has to be.
const (
	memoryOfObject = 4 * 88
	memoryOfItem   = 4 * 16
	memoryFloor    = 900_000
)

// countModels counts the items of lists called "models" of a JSON text that are
// no strings, and says whether the text is dense: whether it holds so many values
// that decoding it would take more than twice its bytes and a megabyte. No file
// that tpuplan writes does, for up to some thousand models; one of empty objects
// could take a hundred times its bytes.
func countModels(data []byte) (models int, dense bool) {
	type open struct{ list, models bool }
	left := memoryFloor + len(data)
	ofModel := int(reflect.TypeFor[LockedModel]().Size())
	var stack []open
	var key []byte // the last string
	last := byte(0)
	top := func() open {
		if len(stack) == 0 {
			return open{}
		}
		return stack[len(stack)-1]
	}
	for i := 0; i < len(data) && left >= 0; i++ {
		switch data[i] {
		case '"':
			start := i + 1
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			key = data[start:min(i, len(data))]
		case '{':
			if !top().models {
				left -= memoryOfObject
			}
			stack = append(stack, open{})
		case '[':
			left -= memoryOfItem
			stack = append(stack, open{list: true, models: string(key) == "models"})
		case ']', '}', ',':
			if t := top(); t.models && data[i] != '}' && last != '"' && last != '[' {
				models++
				left -= ofModel
			} else if t.list {
				left -= memoryOfItem
			}
			if data[i] != ',' && len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		case ' ', '\t', '\r', '\n':
			continue
		}
		last = data[min(i, len(data)-1)]
	}
	return models, left < 0
}
