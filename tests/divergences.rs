//! Proves that divergences keep their digits: of nearly equal distributions, whose divergence is the square of a small
//! difference, and of distant ones, wherever the logits lie. The expected values are computed here, from the definition
//! and in f64; the reference in f64 must agree with them too.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Direction, Element, Evaluate, KlFromLogits, Output, Reduction, RowStrategy, Want};
use ndarray::ArrayD;

use crate::support::{Table, ensure, gpu, places, reason, resident, table};

const ALL: Want = Want::LOSS.union(Want::GRAD).union(Want::GRAD_TARGET);

const DIRECTIONS: [Direction; 5] =
    [Direction::Forward, Direction::Reverse, Direction::Jsd(0.5), Direction::Jsd(0.1), Direction::Jsd(0.9)];

fn loss(direction: Direction, temperature: f32) -> KlFromLogits {
    KlFromLogits::new().direction(direction).temperature(temperature).reduction(Reduction::None)
}

/// One row: the student's logits, and the teacher's.
fn tensors(x: &[f32], y: &[f32]) -> OwnedTensors {
    let row = |v: &[f32]| ArrayD::from_shape_vec(vec![1, v.len()], v.to_vec()).expect("a row");
    OwnedTensors::new(row(x), OwnedTarget::Values(row(y)))
}

/// What the definition gives in f64.
struct Expected {
    loss: f64,
    grad_input: Vec<f64>,
    grad_target: Vec<f64>,
    /// What an element of either gradient may be off by: 1e-5 of it, or of a tenth of what is typical for its class,
    /// where it happens to be nearly 0.
    allowed: [Vec<f64>; 2],
}

/// A row's log-probabilities, in order.
fn log_softmax(row: &[f32], t: f64) -> Vec<f64> {
    let m = row.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
    let log_d = row.iter().map(|&v| ((f64::from(v) - m) / t).exp()).sum::<f64>().ln();
    row.iter().map(|&v| (f64::from(v) - m) / t - log_d).collect()
}

fn expected(x: &[f32], y: &[f32], direction: Direction, t: f32) -> Expected {
    let t = f64::from(t);
    let (log_q, log_p) = (log_softmax(x, t), log_softmax(y, t));
    let [q, p] = [&log_q, &log_p].map(|log| log.iter().map(|v| v.exp()).collect::<Vec<f64>>());
    let mean = |weight: &[f64], value: &[f64]| weight.iter().zip(value).map(|(w, v)| w * v).sum::<f64>();
    // g - E[g] is what becomes of dloss / dprobability; differences of two of them first, as they may be far from 0.
    let gradient = |weight: &[f64], g: &[f64]| -> Vec<f64> {
        let top = (0..weight.len()).max_by(|&a, &b| weight[a].total_cmp(&weight[b])).unwrap_or(0);
        let g: Vec<f64> = g.iter().map(|v| v - g[top]).collect();
        let centre = mean(weight, &g);
        weight.iter().zip(&g).map(|(w, v)| t * w * (v - centre)).collect()
    };
    // sum p is 1 and so is sum q; with both, what is rounded of all logarithms alike does not matter.
    let divergence = |p: &[f64], q: &[f64], log: &[f64]| -> f64 {
        p.iter().zip(q).zip(log).map(|((p, q), log)| p * log - (p - q)).sum()
    };
    let ratio = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let difference = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| t * (a - b)).collect() };
    let (pq, qp) = (ratio(&log_p, &log_q), ratio(&log_q, &log_p));
    let (loss, grad_input, grad_target) = match direction {
        Direction::Forward => (divergence(&p, &q, &pq), difference(&q, &p), gradient(&p, &pq)),
        Direction::Reverse => (divergence(&q, &p, &qp), gradient(&q, &qp), difference(&p, &q)),
        Direction::Jsd(b) => {
            let b = f64::from(b);
            // log(P / M) and log(Q / M) by way of their ratio.
            let u: Vec<f64> = qp.iter().map(|r| -b * ((1.0 - b) * r.exp_m1()).ln_1p()).collect();
            let v: Vec<f64> = pq.iter().map(|r| -(1.0 - b) * (b * r.exp_m1()).ln_1p()).collect();
            (mean(&p, &u) + mean(&q, &v), gradient(&q, &v), gradient(&p, &u))
        }
        other => panic!("no definition of {other:?}"),
    };
    let spread = pq.iter().fold(0.0, |most: f64, r| most.max(r.abs()));
    let share = if let Direction::Jsd(b) = direction { f64::from(b) * (1.0 - f64::from(b)) } else { 1.0 };
    let typical = |c: usize| t * (p[c] + q[c]) * spread * share;
    let allowed = [&grad_input, &grad_target]
        .map(|grad| grad.iter().enumerate().map(|(c, g)| 1e-5 * g.abs().max(0.1 * typical(c)) + 1e-37).collect());
    Expected { loss: t * t * loss, grad_input, grad_target, allowed }
}

fn check<F: Into<f64> + Element<Scalar = F>>(
    rows: &mut Table,
    name: &str,
    got: Result<&Output<F>, String>,
    expected: &Expected,
    tighter: f64,
) {
    let outcome = got.and_then(|got| {
        let part = |part: &Option<ArrayD<F>>| part.iter().flatten().map(|&v| v.into()).collect::<Vec<f64>>();
        let loss = part(&got.loss)[0];
        let off = (loss - expected.loss).abs();
        ensure(loss >= 0.0 && off <= tighter * 1e-5 * expected.loss, || {
            format!("loss {loss:e}, expected {:e}: off by {:.1e} of it", expected.loss, off / expected.loss)
        })?;
        let grads = [
            ("grad_input", &got.grad_input, &expected.grad_input),
            ("grad_target", &got.grad_target, &expected.grad_target),
        ];
        for ((side, got, expected), allowed) in grads.into_iter().zip(&expected.allowed) {
            let got = part(got);
            ensure(got.len() == expected.len(), || format!("{side}: {} elements", got.len()))?;
            let over = |c: usize| (got[c] - expected[c]).abs() / (tighter * allowed[c]);
            let worst = (0..got.len()).max_by(|&a, &b| over(a).total_cmp(&over(b))).unwrap_or(0);
            ensure(over(worst) <= 1.0, || {
                format!(
                    "{side}[{worst}] is {:e}, expected {:e}: {:.1} of what is allowed",
                    got[worst],
                    expected[worst],
                    over(worst)
                )
            })?;
        }
        Ok(())
    });
    rows.row(name, outcome);
}

/// On the GPU, on the CPU, and the reference in f64, which is as exact as the definition in f64: 5e-7 of a
/// divergence of 1e-10.
fn check_everywhere(rows: &mut Table, name: &str, x: &[f32], y: &[f32], direction: Direction, t: f32) {
    let (loss, tensors) = (loss(direction, t), tensors(x, y));
    let expected = expected(x, y, direction, t);
    for (place, ctx) in places() {
        let got = loss.evaluate(&ctx, &tensors.view().wants(ALL)).map_err(reason);
        check(rows, &format!("{place} {name}"), got.as_ref().map_err(Clone::clone), &expected, 1.0);
    }
    let wide = loss.reference(&tensors.to_f64().view().wants(ALL)).map_err(reason);
    check(rows, &format!("reference {name}"), wide.as_ref().map_err(Clone::clone), &expected, 0.05);
}

/// Logits between 0 and 5, and the same moved by `difference`, up and down in no order, and by an offset.
fn near_rows(classes: usize, offset: f32, difference: f32) -> (Vec<f32>, Vec<f32>) {
    let y: Vec<f32> = (0..classes).map(|c| 0.05 * (c * 37 % 101) as f32).collect();
    let x =
        y.iter().enumerate().map(|(c, &y)| y + offset + difference * (((c * 5 + 3) % 7) as f32 / 3.0 - 1.0)).collect();
    (x, y)
}

#[test]
fn nearly_equal_distributions_keep_their_digits() {
    let alternating = |classes: usize| {
        let y: Vec<f32> = (0..classes).map(|c| 0.05 * (c * 37 % 101) as f32).collect();
        let x = y.iter().enumerate().map(|(c, &y)| if c % 2 == 0 { y + 0.001 } else { y - 0.001 }).collect();
        (x, y)
    };
    // Name, student, teacher, the divergence to four digits.
    let rows_of = [
        ("50257 classes", alternating(50_257), 4.999e-7),
        ("two classes", (vec![3.001, 0.0], vec![3.0, 0.0]), 2.258e-8),
    ];
    table(|rows| {
        for (name, (x, y), size) in &rows_of {
            for direction in [Direction::Forward, Direction::Reverse] {
                let exact = expected(x, y, direction, 1.0).loss;
                let outcome = ensure((exact / size - 1.0).abs() < 1e-3, || format!("{exact:e}"));
                rows.row(format!("{name} {direction:?} is {size:e}"), outcome);
                check_everywhere(rows, &format!("{name} {direction:?}"), x, y, direction, 1.0);
            }
        }
    });
}

#[test]
fn near_and_far_anywhere_at_any_temperature() {
    table(|rows| {
        for classes in [2, 10, 17, 1000] {
            for direction in DIRECTIONS {
                for t in [1.0, 0.5, 1.7, 4.0] {
                    for offset in [0.0, 100.0, -1000.0] {
                        for difference in [8.0, 1.0, 0.3, 0.1, 1e-2, 1e-3, 1e-4] {
                            // All of the table for one length, else its ends.
                            let ends = (t == 1.0 || t == 1.7) && (offset == 100.0 || difference == 1e-4);
                            // At 1000 the logits themselves lie 6e-5 apart.
                            if (classes != 17 && !ends) || (offset == -1000.0 && difference < 1e-2) {
                                continue;
                            }
                            let (x, y) = near_rows(classes, offset, difference);
                            let name = format!("C = {classes} {direction:?} T = {t} offset {offset} +-{difference:e}");
                            check_everywhere(rows, &name, &x, &y, direction, t);
                        }
                    }
                }
            }
        }
    });
}

/// Groups of any number of lanes, rows that are held whole, in part, not at all, and split.
#[test]
fn every_strategy_keeps_the_digits() {
    use RowStrategy::{Lanes, Split, Staged, Thread, Tile};
    let strategies = [
        (Thread, 33),
        (Tile { rows: 1 }, 16),
        (Staged, 10),
        (Lanes { lanes: 4, held: 4 }, 101),
        (Lanes { lanes: 8, held: 0 }, 260),
        (Lanes { lanes: 8, held: 4 }, 301),
        (Lanes { lanes: 64, held: 2 }, 1003),
        (Split { lanes: 8, parts: 2 }, 1003),
        (Split { lanes: 64, parts: 2 }, 2100),
    ];
    table(|rows| {
        for (strategy, classes) in strategies {
            for direction in [Direction::Forward, Direction::Reverse, Direction::Jsd(0.25)] {
                for (offset, difference) in [(0.0, 1e-4), (100.0, 1e-3), (0.0, 20.0)] {
                    let (x, y) = near_rows(classes, offset, difference);
                    let (loss, tensors) = (loss(direction, 1.5), tensors(&x, &y));
                    let got = resident::run(&gpu(), &loss, &tensors, ALL, Some(strategy)).map_err(reason);
                    let name = format!("{strategy:?} C = {classes} {direction:?} offset {offset} +-{difference:e}");
                    let got = got.as_ref().map_err(Clone::clone);
                    check(rows, &name, got, &expected(&x, &y, direction, 1.5), 1.0);
                }
            }
        }
    });
}

#[test]
fn a_distribution_does_not_diverge_from_itself() {
    table(|rows| {
        for (place, ctx) in places() {
            for classes in [1, 2, 17, 1000, 50_257] {
                for (direction, t) in [(Direction::Forward, 1.0), (Direction::Reverse, 0.3), (Direction::Jsd(0.3), 1.7)]
                {
                    let (x, _) = near_rows(classes, 3.0, 0.7);
                    let same = tensors(&x, &x);
                    let got = loss(direction, t).evaluate(&ctx, &same.view().wants(ALL)).expect("a row");
                    let all = [got.loss, got.grad_input, got.grad_target].into_iter().flatten().flatten();
                    let outcome = ensure(all.into_iter().all(|v| v == 0.0), || "not 0");
                    rows.row(format!("{place} C = {classes} {direction:?}"), outcome);
                }
            }
        }
    });
}

/// Huge logits, and temperatures that take them out of the range of f32: what is far below has no probability, and only
/// a divergence that f32 cannot hold is infinite.
#[test]
fn huge_logits_make_no_nan() {
    // Direction, temperature, student, teacher, loss.
    type Case = (Direction, f32, [f32; 2], [f32; 2], f64);
    let cases: [Case; 7] = [
        (Direction::Forward, 1.0, [1e8, 1e8 + 8.0], [0.0, 8.0], 0.0),
        (Direction::Forward, 0.1, [1e38, 0.0], [1e38, 0.0], 0.0),
        (Direction::Forward, 0.1, [1e38, 0.0], [0.0, 1e38], 1e37),
        (Direction::Reverse, 0.5, [1e38, 0.0], [0.0, 1e38], 0.5e38),
        (Direction::Forward, 2.0, [3e38, -3e38], [0.0, 1e38], f64::INFINITY),
        (Direction::Reverse, 1.0, [f32::MAX, f32::MIN], [f32::MIN, f32::MAX], f64::INFINITY),
        (Direction::Jsd(0.5), 0.1, [3e38, -3e38], [-3e38, 3e38], 0.01 * std::f64::consts::LN_2),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (direction, t, x, y, expected) in cases {
                let got = loss(direction, t).evaluate(&ctx, &tensors(&x, &y).view().wants(ALL)).expect("a row");
                let loss = got.loss.map_or(f64::NAN, |loss| f64::from(loss.sum()));
                let right = loss == expected || (loss - expected).abs() <= 1e-5 * expected;
                let name = format!("{place} {direction:?} T = {t} {x:?} {y:?}");
                rows.row(&name, ensure(right, || format!("{loss:e}, expected {expected:e}")));
                let grads: Vec<f32> = [got.grad_input, got.grad_target].into_iter().flatten().flatten().collect();
                rows.row(&name, ensure(grads.iter().all(|g| !g.is_nan()), || format!("gradients {grads:?}")));
            }
        }
    });
}
