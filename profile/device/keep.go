//go:build edgetpu

package device

import _ "gonum.org/v1/gonum/stat" // keeps the module that fits samples in go.mod until something uses it
