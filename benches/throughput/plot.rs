//! Ratios over a size, as an SVG file. Text stays text, so no fonts are needed here.

use std::fs;
use std::path::Path;

use plotters::prelude::*;

use crate::outcome::Outcome;
use crate::report::Block;

/// What the horizontal axis shows.
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Block) -> usize,
    /// The corner that the lines leave free.
    pub(crate) legend: SeriesLabelPosition,
}

pub(crate) struct Line {
    pub(crate) name: String,
    /// Size, ratio.
    pub(crate) points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (860, 520);
/// Colours that people with any colour vision can tell apart (Okabe and Ito), after which they repeat.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// Both axes are logarithmic; a grey line marks the copy.
pub(crate) fn draw(file: &Path, axis: &Axis, lines: &[Line]) -> Outcome<()> {
    let points = || lines.iter().flat_map(|line| &line.points).copied();
    let bounds = |pick: fn((f64, f64)) -> f64| {
        points().map(pick).fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)))
    };
    let ((left, right), (low, high)) = (bounds(|p| p.0), bounds(|p| p.1));
    if right == 0.0 {
        return Err("nothing to draw".into());
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(14)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d((left..2.0 * right).log_scale(), (0.8 * low.min(1.0)..1.3 * high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(axis.name)
            .y_desc("time, as a multiple of a copy")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y}"))
            .max_light_lines(0)
            .draw()?;
        chart.draw_series([PathElement::new([(left, 1.0), (right, 1.0)], BLACK.mix(0.4))])?;
        for (line, &colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart
            .configure_series_labels()
            .position(axis.legend.clone())
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        root.present()?;
    }
    fs::write(file, svg).map_err(|e| format!("{}: {e}", file.display()).into())
}
