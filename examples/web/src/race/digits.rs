//! The images that the race is run on, and what the visitor does to the training half of them.

use deeploss::internals::Rng;
use deeploss::ndarray::{Array1, Array2, Axis};

/// Pixels of an image: 8 rows of 8, from 0 (paper) to 1 (ink).
pub const PIXELS: usize = 64;
/// Digits.
pub const CLASSES: usize = 10;
/// Samples of a step.
pub const BATCH: usize = 64;
/// Steps after which the same batches come again.
pub const BATCHES: usize = 1024;

/// The data file of the examples, in NumPy's format: bytes of shape (1797, 64 + 1), the last column the digit. Source and licence:
/// examples/data/README.md.
const FILE: &[u8] = include_bytes!("../../../data/digits.npy");

/// Images with their digits.
#[derive(Debug, Clone)]
pub struct Samples {
    /// (N, PIXELS)
    pub images: Array2<f32>,
    /// (N)
    pub labels: Array1<i32>,
}

/// What is done to the training half. The held-out half stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scenario {
    /// Nothing.
    Clean,
    /// Digit c keeps `ratio`^(-c / 9) of its samples: of a 9 there are `ratio` times fewer than of a 0.
    LongTail {
        /// At least 1.
        ratio: f32,
    },
    /// So large a share of the labels is replaced by another digit, any of the nine.
    WrongLabels {
        /// From 0 to 1.
        share: f32,
    },
}

/// Both halves.
#[derive(Debug, Clone)]
pub struct Data {
    /// What is learned from.
    pub train: Samples,
    /// What is judged by.
    pub test: Samples,
    /// Labels of the training half that are wrong.
    pub wrong: usize,
    /// (BATCHES, BATCH): the training samples of each step, from one random pass over all of them after the other.
    pub schedule: Vec<u32>,
}

impl Samples {
    fn select(&self, rows: &[usize]) -> Self {
        Self { images: self.images.select(Axis(0), rows), labels: self.labels.select(Axis(0), rows) }
    }

    /// How many there are of each digit.
    #[must_use]
    pub fn counts(&self) -> [usize; CLASSES] {
        let mut counts = [0; CLASSES];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }
}

impl Data {
    /// The same halves, labels and batches for the same seed.
    #[must_use]
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let all = digits();
        let mut order: Vec<usize> = (0..all.labels.len()).collect();
        shuffle(&mut order, rng);
        let (train, test) = order.split_at(order.len() / 2);
        let (mut train, test) = (all.select(train), all.select(test));
        let mut wrong = 0;
        match scenario {
            Scenario::Clean => {}
            Scenario::LongTail { ratio } => {
                let mut room = train.counts();
                for (digit, room) in room.iter_mut().enumerate() {
                    let share = ratio.max(1.0).powf(-(digit as f32) / (CLASSES - 1) as f32);
                    *room = ((*room as f32 * share).round() as usize).max(1);
                }
                let kept = train.labels.iter().enumerate().filter(|&(_, &label)| {
                    let room = &mut room[label as usize];
                    let keeps = *room > 0;
                    *room -= usize::from(keeps);
                    keeps
                });
                let kept: Vec<usize> = kept.map(|(row, _)| row).collect();
                train = train.select(&kept);
            }
            Scenario::WrongLabels { share } => {
                // The samples are in random order already.
                wrong = (train.labels.len() as f32 * share.clamp(0.0, 1.0)).round() as usize;
                for label in train.labels.iter_mut().take(wrong) {
                    *label = (*label + 1 + rng.below(CLASSES - 1) as i32) % CLASSES as i32;
                }
            }
        }
        let mut schedule = Vec::with_capacity(BATCHES * BATCH + train.labels.len());
        let mut pass: Vec<u32> = (0..train.labels.len() as u32).collect();
        while schedule.len() < BATCHES * BATCH {
            shuffle(&mut pass, rng);
            schedule.extend_from_slice(&pass);
        }
        schedule.truncate(BATCHES * BATCH);
        Self { train, test, wrong, schedule }
    }

    /// The training samples of a step.
    #[must_use]
    pub fn batch(&self, step: usize) -> &[u32] {
        &self.schedule[step % BATCHES * BATCH..][..BATCH]
    }
}

fn digits() -> Samples {
    // Magic and version take 8 bytes, the header's length 2.
    let header = usize::from(u16::from_le_bytes([FILE[8], FILE[9]]));
    let rows: Vec<&[u8]> = FILE[10 + header..].chunks_exact(PIXELS + 1).collect();
    Samples {
        images: Array2::from_shape_fn((rows.len(), PIXELS), |(row, pixel)| f32::from(rows[row][pixel]) / 16.0),
        labels: rows.iter().map(|row| i32::from(row[PIXELS])).collect(),
    }
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_hold_every_image_once() {
        let data = Data::new(Scenario::Clean, 1);
        assert_eq!((data.train.labels.len(), data.test.labels.len()), (898, 899));
        let (train, test) = (data.train.counts(), data.test.counts());
        // Per digit, as the data set's description has it.
        let known = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
        assert_eq!(std::array::from_fn::<usize, CLASSES, _>(|c| train[c] + test[c]), known);
        assert_eq!(data.wrong, 0);
    }

    #[test]
    fn a_long_tail_gets_rarer_by_the_same_factor() {
        let (clean, tail) = (Data::new(Scenario::Clean, 1), Data::new(Scenario::LongTail { ratio: 27.0 }, 1));
        let (all, kept) = (clean.train.counts(), tail.train.counts());
        for digit in 0..CLASSES {
            let expected = all[digit] as f32 * 27_f32.powf(-(digit as f32) / 9.0);
            assert!((kept[digit] as f32 - expected).abs() <= 0.5, "digit {digit}: {kept:?} of {all:?}");
        }
        assert_eq!(tail.test.labels, clean.test.labels);
    }

    #[test]
    fn as_many_labels_are_wrong_as_asked_for() {
        let (clean, noisy) = (Data::new(Scenario::Clean, 1), Data::new(Scenario::WrongLabels { share: 0.25 }, 1));
        let differ = clean.train.labels.iter().zip(&noisy.train.labels).filter(|(a, b)| a != b).count();
        assert_eq!(clean.train.images, noisy.train.images);
        assert_eq!((differ, noisy.wrong), (225, 225)); // 898 / 4 = 224.5
        assert_eq!(noisy.test.labels, clean.test.labels);
    }

    #[test]
    fn a_pass_takes_every_sample_once() {
        let data = Data::new(Scenario::LongTail { ratio: 20.0 }, 3);
        let count = data.train.labels.len();
        for pass in data.schedule.chunks_exact(count) {
            let mut seen: Vec<u32> = pass.to_vec();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..count as u32));
        }
        assert_eq!(data.batch(BATCHES + 2), data.batch(2));
    }
}
