package cost

// Calibration is what timed calls on one device taught about the cost of a
// call: pure data, made by profile/fit and kept in a file by plans. Every
// number says where it came from and how far it may be off.
//
//	steady = compute + (instructions + input) / rate + output x g + streaming
//
// where compute is host + factor x modelled compute for a model whose shapes are
// known, and streaming the sum over its ops of max(0, passes x streamed / rate - factor x modelled compute).
//
//	cold   = steady + max(0, (cached + load instructions) / rate - overlap) + overhead
type Calibration struct {
	Device string `json:"device,omitempty"` // as the runtime that was timed lists it
	Link   string `json:"link,omitempty"`   // the link whose built-in values were kept where samples could not tell
	// Runtime is the one that clocked a USB device, "std" or "max", as the plan said it; "" is taken for max.
	Runtime string   `json:"runtime,omitempty"`
	Load    Estimate `json:"load_bytes_per_ms"`
	Stream  Estimate `json:"stream_bytes_per_ms"` // everything else a call sends; as Load unless samples show it to be faster
	Over    Estimate `json:"overhead_ms"`
	Overlap Estimate `json:"overlap_ms"`
	// Host is what the host takes for every call, in ms, and Output what a byte of output
	// takes. Output is nil where it crosses at the rate of streaming: the link is not
	// known, or the calibration is an older one. Host is nil where nothing was assumed about it.
	// Either way the host's part is in each model's compute.
	Host   *Estimate `json:"host_ms,omitempty"`
	Output *Estimate `json:"output_ms_per_byte,omitempty"`
	// Models are sorted by name.
	Models    []CalibratedModel `json:"models"`
	Samples   SampleCounts      `json:"samples"`
	Residuals Residuals         `json:"residuals"`
	Warnings  []string          `json:"warnings"`
}

// Estimate is a number with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	// Low and High bound the interval; one that the samples leave open is nil.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Source is measured, imported, simulated, or modelled for a value that
	// was kept because no sample could tell.
	Source  string `json:"source"`
	Samples int    `json:"samples,omitempty"` // how many it rests on
	// Why says why a modelled value was kept; With names the parameters that
	// the samples cannot tell it from.
	Why  string   `json:"why,omitempty"`
	With []string `json:"inseparable_from,omitempty"`
}

// Known reports whether samples gave the value.
func (e *Estimate) Known() bool { return e.Source != "" && e.Source != SourceModelled }

// SourceModelled is the source of a number that no sample gave.
const SourceModelled = "modelled"

// CalibratedModel is what was learnt about one model.
type CalibratedModel struct {
	Name    string   `json:"name"`
	Compute Estimate `json:"compute_ms"` // on the device and the host, without any transfer
	// Slope is what a streamed byte takes beyond its transfer, or, where the shapes of
	// the model are known, beyond what they say.
	Slope Estimate `json:"stream_slope_ms_per_byte"`
	// Factor is by what the compute that shapes predict has to be multiplied; nil where they are not known.
	Factor *Estimate `json:"compute_factor,omitempty"`
	// Passes is by what the predicted number of passes has to be multiplied; nil for a
	// model that does not run in passes.
	Passes *Estimate `json:"passes_factor,omitempty"`
	// SourceSHA256 is the hash of the model before it was compiled, where that is known.
	SourceSHA256 string           `json:"source_sha256,omitempty"`
	Files        []CalibratedFile `json:"files"` // the compiled files that were timed, least streamed first
}

// CalibratedFile is a compiled file that was timed, and what its calls send.
type CalibratedFile struct {
	File          string `json:"file,omitempty"` // base name
	SHA256        string `json:"sha256,omitempty"`
	CachedBytes   int64  `json:"cached_bytes"`
	StreamedBytes int64  `json:"streamed_bytes"`
	FixedBytes    int64  `json:"fixed_bytes"`            // instructions, input and output of every call
	OutputBytes   int64  `json:"output_bytes,omitempty"` // of these the output; 0 in older calibrations
	LoadBytes     int64  `json:"load_instruction_bytes"`
}

// SampleCounts says what became of the samples.
type SampleCounts struct {
	Used      int `json:"used"`
	Unused    int `json:"unused"` // create, and whatever no formula speaks of
	Outliers  int `json:"outliers"`
	Measured  int `json:"measured,omitempty"` // of those used
	Imported  int `json:"imported,omitempty"`
	Simulated int `json:"simulated,omitempty"`
}

// Residuals is how well the formulas fit the samples.
type Residuals struct {
	// MedianPercent and WorstPercent are by how much the times of calls of one
	// file and kind differ from the fitted ones, without their sign.
	MedianPercent float64 `json:"median_percent"`
	WorstPercent  float64 `json:"worst_percent"`
	// NoisePercent is how much repeats of one call differ among themselves.
	NoisePercent float64 `json:"noise_percent,omitempty"`
	// Free is how many more kinds of calls than parameters there are; with none
	// the formulas cannot be checked.
	Free int `json:"free"`
	// Excess is by what factor calls of different files disagree more than repeats do;
	// absent unless that is more than chance. The intervals are wider by it.
	Excess float64        `json:"excess,omitempty"`
	Calls  []CalibratedOn `json:"calls"`
}

// CalibratedOn is one kind of call that was timed.
type CalibratedOn struct {
	Model    string  `json:"model"`
	File     string  `json:"file,omitempty"`
	Run      string  `json:"run,omitempty"`
	Kind     string  `json:"kind"` // warm or cold
	Samples  int     `json:"samples"`
	Outliers int     `json:"outliers,omitempty"`
	MS       float64 `json:"ms"` // of a typical sample
	FittedMS float64 `json:"fitted_ms"`
}

// Model finds a model by the hash of its file, compiled or not, else by its
// name; nil if it is not among those calibrated.
func (c *Calibration) Model(name, sha256 string) *CalibratedModel {
	var named *CalibratedModel
	for i := range c.Models {
		m := &c.Models[i]
		if sha256 != "" && m.SourceSHA256 == sha256 {
			return m
		}
		for k := range m.Files {
			if sha256 != "" && m.Files[k].SHA256 == sha256 {
				return m
			}
		}
		if m.Name == name {
			named = m
		}
	}
	return named
}

// On is a link with the numbers of the calibration in the place of the built-in ones.
func (c *Calibration) On(link Link) Link {
	link.BytesPerMS, link.OverheadMS = c.Load.Value, c.Over.Value
	if c.Load.Known() {
		link.RateLow, link.RateHigh = 0, 0
		if c.Load.Low != nil && c.Load.High != nil && c.Load.Value > 0 {
			link.RateLow, link.RateHigh = *c.Load.Low/c.Load.Value, *c.Load.High/c.Load.Value
		}
	}
	if c.Output != nil {
		link.OutputMSPerByte = c.Output.Value
	}
	switch h := c.Host; {
	case h != nil && !h.Known(): // what the compute times were fitted with; hosts differ as they did
		link.Call = Range{h.Value, min(link.Call.Low, h.Value), max(link.Call.High, h.Value)}
	case h != nil:
		link.Call = Exactly(h.Value)
		if h.Low != nil && h.High != nil {
			link.Call.Low, link.Call.High = *h.Low, *h.High
		}
	}
	return link
}
