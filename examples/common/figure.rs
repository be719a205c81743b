//! Curves as an SVG file. Text stays text, so no fonts are needed here.

use std::fs;
use std::path::Path;

use plotters::prelude::*;

use super::Result;

/// One line: a name, and a value for every step.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) values: &'a [f64],
}

/// One diagram: lines that share a scale.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) series: &'a [Series<'a>],
}

/// Size of a panel in pixels.
const PANEL: (u32, u32) = (480, 360);
/// Colours that people with any colour vision can tell apart (Okabe and Ito), after which they repeat.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Draws the panels side by side over a common horizontal axis (steps), and writes them to `file`. The first value is
/// step `first`'s.
pub(crate) fn draw_curves(file: &Path, steps: &str, first: usize, panels: &[Panel<'_>]) -> Result<()> {
    let mut svg = String::new();
    let width = PANEL.0 * panels.len().max(1) as u32;
    {
        let root = SVGBackend::with_string(&mut svg, (width, PANEL.1)).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, panel) in root.split_evenly((1, panels.len().max(1))).iter().zip(panels) {
            draw_panel(area, steps, first, panel)?;
        }
        root.present()?;
    }
    fs::write(file, svg).map_err(|e| format!("{}: {e}", file.display()).into())
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    steps: &str,
    first: usize,
    panel: &Panel<'_>,
) -> Result<()> {
    let longest = panel.series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    let last = first + longest.saturating_sub(1).max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(first as f64..last as f64, range(panel.series))?;
    chart
        .configure_mesh()
        .x_desc(steps)
        .x_labels(6)
        .x_label_formatter(&|x| x.to_string())
        .y_labels(6)
        .max_light_lines(0)
        .draw()?;
    for (series, &colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let points = (first..).zip(series.values).map(|(step, &value)| (step as f64, value));
        chart
            .draw_series(LineSeries::new(points.filter(|(_, value)| value.is_finite()), style))?
            .label(series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    let corner = if falls(panel.series) { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::LowerRight };
    chart
        .configure_series_labels()
        .position(corner)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// From the smallest to the largest value, and a little more.
fn range(series: &[Series<'_>]) -> std::ops::Range<f64> {
    let finite = || series.iter().flat_map(|s| s.values).copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return 0.0..1.0;
    }
    let margin = if high > low { 0.04 * (high - low) } else { 0.5 };
    low - margin..high + margin
}

/// The legend goes where the lines are not: above lines that fall, below lines that rise.
fn falls(series: &[Series<'_>]) -> bool {
    series.first().is_some_and(|s| s.values.first() > s.values.last())
}
