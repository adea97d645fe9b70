package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"

	"github.com/go-handoff/tls/bench"
)

var (
	white = color.White
	ahead = color.RGBA{0x2a, 0x78, 0xb8, 0xff}
	level = color.RGBA{0x9a, 0xa5, 0xb1, 0xff}
	back  = color.RGBA{0xc0, 0x4a, 0x3a, 0xff}
)

// chartMost is how far the scale goes: what is better still ends there, and has
// its figure beside the bar.
const (
	chartMost = 4.0
	chartRoom = 0.4 // for the figure behind it
)

// margin makes room after a name: whoever has not this font shows another one,
// which may be wider.
const margin = "            "

// writeChart draws the ratios of this stack to crypto/tls: those with a target,
// and those of the cases that say most. The background is white, not
// transparent, so that it can be read on a dark page as well.
func (r *report) writeChart(name string) error {
	var rows []bench.Row
	for _, result := range r.results {
		short := slices.ContainsFunc(bench.Short(), func(c bench.Case) bool { return c.Name == result.Case.Name })
		for _, row := range result.Rows() {
			if row.Stack == bench.Ours && row.Beside == bench.Std && row.Most == nil && (short || row.Target != nil) {
				rows = append(rows, row)
			}
		}
	}
	return draw(rows, name)
}

func draw(rows []bench.Row, name string) error {
	if len(rows) == 0 {
		return nil
	}
	slices.Reverse(rows) // the first one is on top
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	p.BackgroundColor = white
	p.Title.Text = "what crypto/tls needs / what handoff needs\n(blue: handoff needs less, red: more, grey: chance can explain it)"
	p.Title.TextStyle.Font.Size, p.Title.Padding = 10, 0.2*vg.Centimeter
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, chartMost+chartRoom, -0.5, float64(len(rows))-0.5
	p.Add(plotter.NewGrid())
	names := make([]plot.Tick, len(rows))
	for i, row := range rows {
		if err := addBar(p, i, row); err != nil {
			return err
		}
		names[i] = plot.Tick{Value: float64(i), Label: row.Case + "  " + row.Unit + margin}
	}
	p.Y.Tick.Marker = plot.ConstantTicks(names)
	p.Y.Tick.Label.Font.Size, p.Y.Tick.LineStyle.Width = 9, 0
	p.X.Tick.Marker = plot.ConstantTicks([]plot.Tick{{Value: 0, Label: "0"}, {Value: 1, Label: "1"}, {Value: 2, Label: "2"}, {Value: 3, Label: "3"}, {Value: chartMost, Label: "4"}})
	line, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(rows)) - 0.5}})
	if err != nil {
		return err
	}
	p.Add(line)
	return p.Save(20*vg.Centimeter, vg.Length(len(rows))*0.45*vg.Centimeter+2*vg.Centimeter, name)
}

// addBar adds the bar of a row, and its figure.
func addBar(p *plot.Plot, i int, row bench.Row) error {
	end := min(row.Ratio, chartMost)
	y := float64(i)
	bar, err := plotter.NewPolygon(plotter.XYs{{X: 0, Y: y - 0.35}, {X: end, Y: y - 0.35}, {X: end, Y: y + 0.35}, {X: 0, Y: y + 0.35}})
	if err != nil {
		return err
	}
	bar.Color, bar.LineStyle.Width = barColor(row), 0
	p.Add(bar)
	at := plotter.XY{X: end + 0.03, Y: y}
	figure := fmt.Sprintf("%.2f", row.Ratio)
	if row.Ratio > chartMost {
		figure = "> " + figure // the bar does not end here
	}
	label, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{at}, Labels: []string{figure}})
	if err != nil {
		return err
	}
	label.TextStyle[0].YAlign = text.YCenter
	label.TextStyle[0].Font.Size = 9
	p.Add(label)
	return nil
}

// barColor tells better from worse, and both from what chance can explain.
func barColor(row bench.Row) color.Color {
	low, high := interval(row)
	if len(row.Pairs) == 0 { // it was counted
		low, high = row.Ratio, row.Ratio
	} else if math.IsInf(low, 0) || math.IsInf(high, 0) { // too few to say more than they do
		low, high = slices.Min(row.Pairs), slices.Max(row.Pairs)
	}
	switch {
	case low > 1:
		return ahead
	case high < 1:
		return back
	}
	return level
}
