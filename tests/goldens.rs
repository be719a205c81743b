//! Proves that the losses are PyTorch's, or JAX's of the definition where PyTorch has none: every golden case, on the
//! GPU and on the CPU, and that the oracle of all other tests, the CPU reference in f64, reproduces the stored values.
//! And that the judge can say no.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use deeploss::Context;

use crate::support::conformance::{Case, load, oracle_error, run};
use crate::support::{ensure, places, root, table};

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| load(&root().join("tests/goldens")).expect("readable golden cases"))
}

/// The ops of the golden cases.
fn ops() -> BTreeSet<&'static str> {
    cases().iter().map(|case| case.op.as_str()).collect()
}

/// Every case where it is computed on the GPU and on the CPU, and the largest relative error of a part of cross-entropy
/// with hard labels: 2e-6 of each element, not of the tensor, so that a confident row's tiny loss and target gradient
/// keep their digits.
#[test]
fn every_golden_case_is_reproduced() {
    table(|rows| {
        for (place, ctx) in places() {
            let mut report = run(cases(), &ctx, None);
            println!("{place}\n{}", report.table());
            for (id, reason) in &report.failures {
                rows.row(format_args!("{place} {id}"), Err(reason.clone()));
            }
            for op in ops() {
                let some = report.part(op, "loss").is_some_and(|part| part.cases > 0);
                rows.row(format_args!("{place} {op}"), ensure(some, || "no case was run"));
            }
            for part in ["loss (hard)", "grad_input (hard)"] {
                let worst = report.part("cross_entropy", part).map_or(f64::NAN, |part| part.max_rel);
                let outcome = ensure(worst <= 2e-6, || format!("relative error {worst:e}"));
                rows.row(format_args!("{place} cross_entropy {part}"), outcome);
            }
        }
    });
}

/// The stored values are right to 1e-16 of their tensor's largest, and f64 keeps a few digits less over thousands of
/// classes. An option such as 0.1 is rounded to f32 first, which moves the result by up to 2^-24 of it; so is 1e-12,
/// PyTorch's bound for the gradient of binary cross-entropy. Divergences of nearly equal distributions were stored as
/// differences of logarithms, right to 1e-16 of those.
#[test]
fn the_f64_oracle_reproduces_the_stored_values() {
    table(|rows| {
        for case in cases() {
            let error = oracle_error(case).unwrap_or(f64::INFINITY);
            let exact = case.has_exact_options() && case.op != "binary_cross_entropy";
            let allowed = match (exact, case.tags.contains("near")) {
                (true, false) => 2e-14,
                (true, true) => 1e-9,
                (false, _) => 6e-8,
            };
            let outcome = ensure(error <= allowed, || format!("differs by {error:e} of the scale"));
            rows.row(&case.id, outcome);
        }
    });
}

/// Every expected tensor of every case, one element at a time wrong: by a little more than the tolerance, and in kind.
#[test]
fn the_judge_notices_a_wrong_golden() {
    type Change = fn(f64, f64) -> f64;
    let changes: [(&str, Change); 3] = [
        ("beyond the tolerance", |v, scale| v + 5e-6 * scale),
        ("NaN", |v, _| if v.is_nan() { 0.0 } else { f64::NAN }),
        ("infinite", |v, _| if (v as f32).is_finite() { f64::INFINITY } else { 0.0 }),
    ];
    let ctx = Context::cpu();
    table(|rows| {
        for case in cases() {
            for name in ["loss", "grad_input", "grad_input2", "grad_target"] {
                for (how, change) in &changes {
                    let mut wrong = case.clone();
                    let scale = case.scale(name).unwrap_or(0.0);
                    let mut before = f64::NAN;
                    let changed = wrong.falsify(name, 0, |v| {
                        before = v;
                        change(v, scale)
                    });
                    // Values in f32: adding to inf or NaN, or to 1e38 what rounds away, changes nothing.
                    let visible = *how != "beyond the tolerance" || (before as f32).is_finite();
                    // Where a deliberate difference may show, NaN is expected and numbers pass.
                    let judged = !case.may_differ() || (!before.is_nan() && *how != "NaN");
                    if changed && visible && judged && scale > 0.0 {
                        let noticed = !run(&[wrong], &ctx, None).passed();
                        let outcome = ensure(noticed, || format!("{name} made {how} passes"));
                        rows.row(&case.id, outcome);
                    }
                }
            }
            let mut wrong = case.clone();
            wrong.expect_error(!case.tags.contains("error"));
            let noticed = !run(&[wrong], &ctx, None).passed();
            rows.row(&case.id, ensure(noticed, || "error or not, both pass"));
        }
    });
}
