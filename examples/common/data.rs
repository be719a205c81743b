//! The data sets in examples/data, and what is done to every data set: split, standardise, count what is right.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use super::{Result, Rng, root};

/// Samples with their classes.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    /// (N, F)
    pub(crate) features: Array2<f32>,
    /// (N): class indices, in the type that GPU buffers hold.
    pub(crate) labels: Array1<i32>,
}

impl Dataset {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The given rows, in the given order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self { features: self.features.select(Axis(0), rows), labels: self.labels.select(Axis(0), rows) }
    }

    /// Shuffles, and splits into `share` of the samples and the rest: for training and for testing.
    pub(crate) fn split(&self, share: f64, rng: &mut Rng) -> (Self, Self) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        rng.shuffle(&mut order);
        let (train, test) = order.split_at((self.len() as f64 * share) as usize);
        (self.select(train), self.select(test))
    }
}

/// 1797 handwritten digits: 8x8 pixels in 0..=1 row by row, 10 classes.
pub(crate) fn digits() -> Result<Dataset> {
    let bytes = read_npy_u8(&data_file("digits.npy"))?;
    // (N, 64 + 1): the last column is the digit.
    Ok(Dataset {
        features: bytes.slice(s![.., ..-1]).mapv(|pixel| f32::from(pixel) / 16.0),
        labels: bytes.slice(s![.., -1]).mapv(i32::from),
    })
}

/// 569 tumours: 30 measurements, class 0 malignant or 1 benign.
pub(crate) fn breast_cancer() -> Result<Dataset> {
    read_csv(&data_file("breast_cancer.csv"))
}

/// Shifts and scales every feature to mean 0 and standard deviation 1 over the training samples; the same for the test
/// samples.
pub(crate) fn standardise(train: &mut Dataset, test: &mut Dataset) {
    let count = train.len().max(1) as f32;
    let mean = train.features.sum_axis(Axis(0)) / count;
    let mut deviation = train.features.std_axis(Axis(0), 0.0);
    // A constant feature carries nothing; leave it at 0.
    deviation.mapv_inplace(|d| if d > 0.0 { d } else { 1.0 });
    for data in [train, test] {
        data.features -= &mean;
        data.features /= &deviation;
    }
}

/// Share of the rows whose largest score is their label's. Scores are (N, C), or (N, 1): class 1 where positive, else
/// class 0.
pub(crate) fn accuracy(scores: &Array2<f32>, labels: &Array1<i32>) -> f64 {
    let classes = scores.rows().into_iter().map(predicted);
    let right = classes.zip(labels).filter(|(class, label)| class == *label).count();
    right as f64 / labels.len().max(1) as f64
}

/// The class that a row of scores speaks for, as in [`accuracy`].
pub(crate) fn predicted(scores: ArrayView1<'_, f32>) -> i32 {
    if scores.len() == 1 {
        return i32::from(scores[0] > 0.0);
    }
    scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class as i32)
}

fn data_file(name: &str) -> PathBuf {
    root().join("examples/data").join(name)
}

/// A table of numbers with a header line; the last column is the class.
fn read_csv(file: &Path) -> Result<Dataset> {
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut lines = text.lines().zip(1..);
    let columns = lines.next().map_or(0, |(header, _)| header.split(',').count());
    if columns < 2 {
        return Err(format!("{}: expected a header of at least two columns", file.display()).into());
    }
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        let wrong = |what: String| format!("{}:{number}: {what}", file.display());
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != columns {
            return Err(wrong(format!("expected {columns} values, got {}", cells.len())).into());
        }
        for cell in &cells[..columns - 1] {
            features.push(cell.parse::<f32>().map_err(|_| wrong(format!("expected a number, got {cell:?}")))?);
        }
        let label = cells[columns - 1];
        labels.push(label.parse::<i32>().map_err(|_| wrong(format!("expected a class index, got {label:?}")))?);
    }
    Ok(Dataset { features: Array2::from_shape_vec((labels.len(), columns - 1), features)?, labels: labels.into() })
}

/// A two-dimensional array of bytes as `numpy.save` writes it.
/// Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
fn read_npy_u8(file: &Path) -> Result<Array2<u8>> {
    let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    parse_npy_u8(&bytes).map_err(|why| format!("{}: {why}", file.display()).into())
}

fn parse_npy_u8(bytes: &[u8]) -> Result<Array2<u8>, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("not a .npy file")?;
    // Version, then the header's length: 2 bytes in version 1, 4 bytes later.
    let (header, data) = match *rest {
        [1, _, a, b, ref rest @ ..] => rest.split_at_checked(usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, _, a, b, c, d, ref rest @ ..] => rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err("expected .npy version 1, 2 or 3".into()),
    }
    .ok_or("the header is cut off")?;
    let header = str::from_utf8(header).map_err(|_| "the header is not text")?;
    if !header.contains("'descr': '|u1'") || !header.contains("'fortran_order': False") {
        return Err(format!("expected bytes (|u1) in C order, got {:?}", header.trim()));
    }
    let inside = header.split_once("'shape': (").and_then(|(_, after)| after.split_once(')')).map(|(inside, _)| inside);
    let sizes: Option<Vec<usize>> = inside.and_then(|list| list.split(',').map(|n| n.trim().parse().ok()).collect());
    let Some([rows, columns]) = sizes.as_deref() else {
        return Err(format!("expected two dimensions, got {:?}", header.trim()));
    };
    Array2::from_shape_vec((*rows, *columns), data.to_vec())
        .map_err(|_| format!("expected {rows} x {columns} values, got {} bytes", data.len()))
}
