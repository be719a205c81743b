//! The race on the GPU against the race on the CPU, and against itself.

use std::sync::LazyLock;

use super::*;

const OPTIONS: Options = Options { smoothing: 0.1, gamma: 2.0, temperature: 2.0 };
const DESCENT: Descent = Descent { rate: 0.05, momentum: 0.9 };

/// One for all tests: they share its compiled pipelines.
fn gpu() -> Context {
    static GPU: LazyLock<Context> = LazyLock::new(|| Context::new().unwrap_or_else(|error| panic!("{error}")));
    GPU.clone()
}

/// A race of so many steps, in submits of a few each, with its losses (steps, K) and the figures of each network.
fn race(ctx: &Context, scenario: Scenario, teacher_steps: usize, steps: usize) -> (Race, Vec<f32>, Vec<Figures>) {
    let mut race = pollster::block_on(Race::new(ctx, scenario, 1, OPTIONS)).unwrap();
    // A teacher that has learned little does for a test of the arithmetic.
    race.taught = TEACHER_STEPS - teacher_steps;
    while race.taught() < TEACHER_STEPS {
        pollster::block_on(race.teach(50)).unwrap();
    }
    let (losses, figures) = run(&mut race, steps);
    (race, losses, figures)
}

fn run(race: &mut Race, steps: usize) -> (Vec<f32>, Vec<Figures>) {
    let mut losses = Vec::new();
    loop {
        let left = steps - race.step();
        let progress = pollster::block_on(race.advance(left.min(7), DESCENT, left <= 7)).unwrap();
        losses.extend(progress.losses);
        if let Some(tallies) = progress.tallies {
            return (losses, Figures::of(&tallies, race.data()));
        }
    }
}

#[test]
fn gpu_and_cpu_run_the_same_race() {
    let scenario = Scenario::LongTail { ratio: 20.0 };
    let (_, on_gpu, judged_on_gpu) = race(&gpu(), scenario, 20, 30);
    let (_, on_cpu, judged_on_cpu) = race(&Context::cpu(), scenario, 20, 30);
    assert_eq!(on_gpu.len(), 30 * RUNNERS.len());
    for (at, (gpu, cpu)) in on_gpu.iter().zip(&on_cpu).enumerate() {
        let (step, runner) = (at / RUNNERS.len(), RUNNERS[at % RUNNERS.len()]);
        assert!(
            (gpu - cpu).abs() <= 1e-4 * cpu.max(0.1),
            "step {step} of {runner}: {gpu} on the GPU, {cpu} on the CPU"
        );
    }
    for ((runner, gpu), cpu) in RUNNERS.iter().zip(&judged_on_gpu).zip(&judged_on_cpu) {
        // One image may fall to the other side.
        assert!((gpu.accuracy - cpu.accuracy).abs() < 2.0 / 899.0, "{runner}: {gpu:?}, {cpu:?}");
        assert!((gpu.calibration_error - cpu.calibration_error).abs() < 5e-3, "{runner}: {gpu:?}, {cpu:?}");
        assert!((gpu.surprise - cpu.surprise).abs() < 1e-3, "{runner}: {gpu:?}, {cpu:?}");
        assert_eq!(gpu.bins.iter().map(|bin| bin.0).sum::<f64>(), 899.0);
    }
    // Thirty steps teach something, and every loss falls.
    assert!(judged_on_gpu.iter().all(|figures| figures.accuracy > 0.3), "{judged_on_gpu:?}");
    for (runner, name) in RUNNERS.iter().enumerate() {
        assert!(on_gpu[29 * RUNNERS.len() + runner] < 0.9 * on_gpu[runner], "{name} does not learn");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for ctx in [gpu(), Context::cpu()] {
        let (mut again, first, judged) = race(&ctx, Scenario::WrongLabels { share: 0.2 }, 10, 20);
        again.restart();
        assert_eq!(again.step(), 0);
        let (second, judged_again) = run(&mut again, 20);
        assert!(first.iter().map(|loss| loss.to_bits()).eq(second.iter().map(|loss| loss.to_bits())));
        assert_eq!(judged, judged_again);
        let (_, anew, _) = race(&ctx, Scenario::WrongLabels { share: 0.2 }, 10, 20);
        assert!(first.iter().map(|loss| loss.to_bits()).eq(anew.iter().map(|loss| loss.to_bits())));
    }
}

#[test]
fn options_change_their_own_loss_alone() {
    let ctx = gpu();
    let first_losses = |options| {
        let mut race = pollster::block_on(Race::new(&ctx, Scenario::Clean, 1, OPTIONS)).unwrap();
        pollster::block_on(race.set_options(options)).unwrap();
        pollster::block_on(race.advance(1, DESCENT, false)).unwrap().losses
    };
    let plain = first_losses(OPTIONS);
    for (runner, options) in [
        (1, Options { smoothing: 0.3, ..OPTIONS }),
        (3, Options { gamma: 4.0, ..OPTIONS }),
        (5, Options { temperature: 4.0, ..OPTIONS }),
    ] {
        let other = first_losses(options);
        let differ: Vec<usize> = (0..RUNNERS.len()).filter(|&k| plain[k] != other[k]).collect();
        assert_eq!(differ, [runner]);
    }
}

#[test]
fn a_loss_refuses_its_options() {
    let options = Options { smoothing: 2.0, ..OPTIONS };
    let error = pollster::block_on(Race::new(&gpu(), Scenario::Clean, 1, options)).err().expect("a smoothing of 2");
    assert!(error.to_string().contains("label_smoothing"), "{error}");
}

#[test]
fn figures_are_means_of_the_tally() {
    let data = Data::new(Scenario::Clean, 1);
    let counts = data.test.counts();
    let mut tally = [0.0_f32; NUMBERS];
    for (class, &count) in counts.iter().enumerate() {
        tally[class] = count as f32 / 2.0;
    }
    // All images in the last tenth: half of them right, at a confidence of 0.9.
    tally[CLASSES + BINS - 1] = 899.0;
    tally[CLASSES + 2 * BINS - 1] = 899.0 / 2.0;
    tally[CLASSES + 3 * BINS - 1] = 899.0 * 0.9;
    tally[NUMBERS - 1] = 899.0 * 2.0;
    let figures = &Figures::of(&tally, &data)[0];
    assert!((figures.accuracy - 0.5).abs() < 1e-6 && figures.of_class.iter().all(|share| (share - 0.5).abs() < 1e-6));
    assert!((figures.calibration_error - 0.4).abs() < 1e-6, "{figures:?}");
    assert!((figures.surprise - 2.0).abs() < 1e-6);
}

/// Means over some seeds: what the page says that one should see. With `--nocapture` it prints the figures that stand there.
#[test]
fn what_the_page_says_comes_true() {
    const SEEDS: u64 = 5;
    /// Accuracy, accuracy on the digits 7, 8 and 9, calibration error.
    type Means = [[f64; 3]; RUNNERS.len()];
    let scenarios = [Scenario::Clean, Scenario::LongTail { ratio: 30.0 }, Scenario::WrongLabels { share: 0.3 }];
    let means = |scenario| {
        let mut means: [Means; 3] = Default::default();
        for seed in 1..=SEEDS {
            let mut race = pollster::block_on(Race::new(&Context::cpu(), scenario, seed, OPTIONS)).unwrap();
            while race.taught() < TEACHER_STEPS {
                pollster::block_on(race.teach(MOST_STEPS)).unwrap();
            }
            for (means, end) in means.iter_mut().zip([100, 400, 1000]) {
                let mut tallies = None;
                while race.step() < end {
                    tallies = pollster::block_on(race.advance(50, DESCENT, race.step() + 50 == end)).unwrap().tallies;
                }
                for (means, figures) in means.iter_mut().zip(Figures::of(&tallies.unwrap(), race.data())) {
                    let tail = figures.of_class[7..].iter().sum::<f64>() / 3.0;
                    for (mean, value) in means.iter_mut().zip([figures.accuracy, tail, figures.calibration_error]) {
                        *mean += 100.0 * value / SEEDS as f64;
                    }
                }
            }
        }
        means
    };
    let [clean, tail, wrong] = std::thread::scope(|scope| {
        scenarios.map(|scenario| scope.spawn(move || means(scenario))).map(|thread| thread.join().unwrap())
    });
    for (scenario, means) in scenarios.iter().zip([clean, tail, wrong]) {
        for (means, step) in means.iter().zip([100, 400, 1000]) {
            println!("{scenario:?}, step {step}");
            for (runner, [right, tail, error]) in RUNNERS.iter().zip(means) {
                println!(
                    "  {runner:16} right {right:5.1} %, of 7 to 9 {tail:5.1} %, calibration error {error:5.1} points"
                );
            }
        }
    }

    let [plain, smoothed, weighted, focal, hinge, distilled] = [0, 1, 2, 3, 4, 5];
    let [right, rare, error] = [0, 1, 2];
    let [_, _, clean] = clean;
    assert!(clean.iter().all(|means| means[right] > 95.5), "clean labels: every loss learns");
    assert!(clean[plain][error] < 2.0 && clean[weighted][error] < 2.0, "cross-entropy is calibrated");
    assert!(clean[smoothed][error] > 10.0 && clean[hinge][error] > 20.0, "smoothing and hinge are not");
    let [early, _, late] = tail;
    assert!(early[weighted][rare] > early[plain][rare] + 20.0, "weights find the rare digits early");
    assert!(late[weighted][rare] > late[plain][rare] + 2.0, "and stay ahead");
    let [_, halfway, late] = wrong;
    assert!(late[plain][right] < halfway[plain][right] - 4.0, "cross-entropy learns the wrong labels by heart");
    assert!((0..RUNNERS.len()).all(|k| k == focal || late[k][right] > late[focal][right] + 2.0), "focal most of all");
    assert!(late[smoothed][right] > late[plain][right] + 2.0, "smoothing holds it back");
    assert!(late[distilled][right] > late[smoothed][right] + 1.0, "the teacher's answers more so");
}
