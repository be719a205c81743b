//! What a context is tuned with: the file and what it refuses, measuring once, falling back to the table, kernels with
//! and without runtime checks.

use std::path::PathBuf;

use deeploss::internals::OwnedTarget;
use deeploss::{
    AdapterFacts, Context, CrossEntropy, Dtype, Error, Evaluate, Hinge, Loss, Nll, Plan, Prepared, Problem,
    RowStrategy, TargetKind, Tuning, Want, autotune, measure,
};

use crate::support::compare::bits;
use crate::support::resident::{self, Resident};
use crate::support::{cases, facts, gpu, own_device, reason, scratch, table, wgsl};

/// A path for one test, where nothing is.
fn path(name: &str) -> PathBuf {
    let path = scratch().join(format!("{name}.tuning"));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => path,
    }
}

/// What a call on this context runs as, and why.
fn strategy(ctx: &Context, problem: &Problem) -> (RowStrategy, String) {
    chosen(&CrossEntropy::new().prepare(ctx, problem).expect("a problem for cross-entropy"))
}

fn chosen(prepared: &Prepared) -> (RowStrategy, String) {
    (prepared.plan().strategy(), prepared.plan().reason().to_owned())
}

const TUNED: &str = "chosen by the tuning";

#[test]
fn a_file_holds_what_was_saved() {
    let (ce, nll) = (CrossEntropy::new(), Nll::new());
    let mut tuning = Tuning::default();
    let entries: [(&dyn Loss, Problem, RowStrategy); 6] = [
        (&ce, Problem::rows(1000, 10), RowStrategy::Tile { rows: 2 }),
        (&ce, Problem::rows(1000, 10).wants(Want::LOSS), RowStrategy::Thread),
        (
            &ce,
            Problem::rows(1000, 10).input_dtype(Dtype::Bf16).grad_dtype(Dtype::F16),
            RowStrategy::Lanes { lanes: 64, held: 1 },
        ),
        (&ce, Problem::new(&[1000, 10], TargetKind::Values), RowStrategy::Lanes { lanes: 8, held: 0 }),
        (&ce, Problem::new(&[250, 10, 4], TargetKind::Indices), RowStrategy::Lanes { lanes: 128, held: 0 }),
        (&nll, Problem::rows(1000, 10).wants(Want::LOSS | Want::GRAD), RowStrategy::Split { lanes: 8, parts: 4 }),
    ];
    for (loss, problem, strategy) in &entries {
        tuning.insert(*loss, problem, *strategy).expect("a loss over rows");
    }
    assert_eq!(tuning.len(), entries.len(), "what differs in the problem differs in the entry:\n{tuning}");
    let path = path("round_trip");
    tuning.save(&path).expect("a file in the target directory");
    let read = Tuning::load(&path).expect("the file just written");
    assert_eq!(read, tuning);
    for (loss, problem, strategy) in &entries {
        assert_eq!(read.get(*loss, problem), Some(*strategy), "{problem:?}");
    }
    // Like rows share an entry: 513 to 1024.
    assert_eq!(read.get(&ce, &Problem::rows(513, 10)), Some(RowStrategy::Tile { rows: 2 }));
    assert_eq!(read.get(&ce, &Problem::rows(512, 10)), None);
    let beside = std::fs::read_dir(scratch()).expect("the target directory").flatten();
    let left: Vec<_> = beside.map(|f| f.file_name()).filter(|n| n.to_string_lossy().ends_with(".new")).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("round_trip")), "{left:?}");
}

#[test]
fn element_wise_losses_have_nothing_to_tune() {
    let problem = Problem::new(&[8], TargetKind::Values);
    let inserted = Tuning::default().insert(&Hinge::new(), &problem, RowStrategy::Thread);
    assert!(matches!(inserted, Err(Error::Unsupported { .. })), "{inserted:?}");
    let measured = measure(&gpu(), &Hinge::new(), &problem);
    assert!(matches!(measured, Err(Error::Unsupported { .. })), "{measured:?}");
    let path = path("element_wise");
    autotune(&gpu(), &Hinge::new(), &problem, &path).expect("nothing to do");
    assert!(!path.exists());
}

#[test]
fn strategies_are_read_as_they_are_written() {
    let good = ["thread", "tile:2", "staged", "lanes:8x0", "lanes:32x4", "split:8x4"];
    for text in good {
        assert_eq!(text.parse::<RowStrategy>().map(|strategy| strategy.to_string()), Ok(text.to_owned()));
    }
    let bad = ["", "Thread", "thread:", "thread:1", "tile", "tile:0", "tile:+2", "lanes:064x1", "lanes:64", "split:8"];
    for text in
        bad.into_iter().chain(["split:8x", "split:0x4", "warp:32", "lanes:99999999999x1", "lanes: 64x1", "staged:1"])
    {
        let refused = text.parse::<RowStrategy>();
        assert!(matches!(refused, Err(Error::Value { argument: "strategy", .. })), "`{text}` gives {refused:?}");
    }
}

/// The error names the file, the line and what was expected; nothing is taken from such a file.
#[test]
fn a_broken_file_is_refused() {
    let header = "deeploss tuning, 0.1.0, any\n";
    let entry = "cross_entropy indices f32 f32 loss+grad 1024x10 last";
    let broken = [
        (String::new(), "line 1"),
        ("hello\n".into(), "line 1: `hello`"),
        (format!("{header}\n# a remark\n{entry}\n"), "line 4"),
        (format!("{header}{entry} warp:32\n"), "line 2"),
        (format!("{header}{entry} thread thread\n"), "line 2"),
        (format!("{header}{entry} thread\n{entry} staged\n"), "line 3"),
        (format!("{header}{} thread\n", entry.replace("f32 f32", "f32 f64")), "line 2"),
        (format!("{header}{} thread\n", entry.replace("loss+grad", "loss+")), "line 2"),
        (format!("{header}{} thread\n", entry.replace("1024x10", "1024")), "line 2"),
        (format!("{header}{} thread\n", entry.replace("indices", "labels")), "line 2"),
    ];
    let path = path("broken");
    for (text, line) in broken {
        std::fs::write(&path, &text).expect("a file in the target directory");
        let results = [
            Tuning::load(&path).map(|_| ()),
            autotune(&gpu(), &CrossEntropy::new(), &Problem::rows(1024, 10), &path).map(|_| ()),
        ];
        for refused in results {
            let Err(Error::File { path: named, detail, .. }) = refused else { panic!("{text:?} gives {refused:?}") };
            assert_eq!(named, path.display().to_string());
            assert!(detail.contains(line), "{text:?}: {detail}");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), text, "the file was changed");
    }
    let missing = Tuning::load(path.with_extension("missing"));
    assert!(matches!(missing, Err(Error::File { .. })), "{missing:?}");
    let nowhere = Tuning::default().save(path.join("beneath_a_file"));
    assert!(matches!(nowhere, Err(Error::File { .. })), "{nowhere:?}");
}

/// Of another adapter or version: `autotune` refuses the file, a context ignores the entries.
#[test]
fn a_foreign_file_changes_nothing() {
    let problem = Problem::rows(1024, 10);
    let path = path("foreign");
    for origin in ["0.0.1, any", "0.1.0, vulkan, Some other adapter"] {
        let entry = "cross_entropy indices f32 f32 loss+grad 1024x10 last lanes:64x0";
        let text = format!("deeploss tuning, {origin}\n{entry}\n");
        std::fs::write(&path, &text).expect("a file in the target directory");
        let refused = autotune(&gpu(), &CrossEntropy::new(), &problem, &path);
        let Err(Error::File { detail, .. }) = refused else { panic!("{origin}: {refused:?}") };
        assert!(detail.contains(origin), "{detail}");
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), text, "the file was changed");
        let tuning = Tuning::load(&path).expect("good syntax").runtime_checks(false);
        let ctx = gpu().with_tuning(tuning);
        assert_eq!(ctx.tuning(), &Tuning::default().runtime_checks(false));
        assert_eq!(strategy(&ctx, &problem), strategy(&gpu(), &problem));
    }
}

#[test]
fn calls_follow_the_tuning_unless_forced() {
    let (loss, problem) = (CrossEntropy::new(), Problem::rows(40, 100));
    let mut tuning = Tuning::default();
    let lanes = RowStrategy::Lanes { lanes: 128, held: 0 };
    tuning.insert(&loss, &problem, lanes).expect("a loss over rows");
    let ctx = gpu().with_tuning(tuning);
    assert_eq!(strategy(&ctx, &problem), (lanes, TUNED.to_owned()));
    let forced = loss.prepare_with(&ctx, &problem, Some(RowStrategy::Thread)).expect("threads serve everywhere");
    assert_eq!(chosen(&forced), (RowStrategy::Thread, "forced by the caller".to_owned()));
    // Another number of classes is another problem, and another context has another tuning.
    let other = Problem::rows(40, 101);
    assert_eq!(strategy(&ctx, &other), strategy(&gpu(), &other));
    assert_ne!(strategy(&gpu(), &problem).1, TUNED);
    // The host API follows too, with the same result up to the last digits.
    let tensors = loss.example_inputs(&[40, 100], 3);
    let of = |ctx: &Context| loss.evaluate(ctx, &tensors.view().wants(Want::LOSS)).expect("a sample").scalar().unwrap();
    assert!((of(&ctx) - of(&gpu())).abs() < 1e-5);
}

/// Too large a tile, lanes that are no power of two, more lanes than a workgroup takes, more pairs than registers hold, more groups
/// than a grid.
#[test]
fn where_a_strategy_cannot_run_the_table_chooses() {
    use RowStrategy::{Lanes, Tile};
    let problem = Problem::rows(40, 100);
    let lanes = [(3, 0), (1 << 20, 0), (64, 9)].map(|(lanes, held)| Lanes { lanes, held });
    for wrong in lanes.into_iter().chain([Tile { rows: 2 }]) {
        let mut tuning = Tuning::default();
        tuning.insert(&CrossEntropy::new(), &problem, wrong).expect("a loss over rows");
        assert_eq!(strategy(&gpu().with_tuning(tuning), &problem), strategy(&gpu(), &problem), "{wrong}");
    }
    let few = wgpu::Limits { max_compute_workgroups_per_dimension: 32, ..wgpu::Limits::default() };
    let small = own_device(wgpu::Features::empty(), few);
    let many = Problem::rows(2000, 3);
    let mut tuning = Tuning::default();
    tuning.insert(&CrossEntropy::new(), &many, Lanes { lanes: 64, held: 0 }).expect("a loss over rows");
    assert_eq!(strategy(&small.with_tuning(tuning), &many), strategy(&small, &many));
}

#[test]
fn autotune_measures_once_and_then_reads() {
    let (loss, problem) = (CrossEntropy::new(), Problem::rows(64, 40));
    let path = path("autotune");
    let read = || std::fs::read_to_string(&path).expect("the file");
    let first = autotune(&gpu(), &loss, &problem, &path).expect("a measurement");
    let (measured, why) = strategy(&first, &problem);
    assert_eq!(why, TUNED);
    let text = read();
    assert_eq!(Tuning::load(&path).expect("the file").get(&loss, &problem), Some(measured), "{text}");

    // Had it been measured again, it would not come out as the worst of all.
    let edited = text.replace(&format!(" {measured}\n"), " lanes:64x0\n");
    std::fs::write(&path, &edited).expect("the file");
    let second = autotune(&gpu(), &loss, &problem, &path).expect("an entry");
    assert_eq!(strategy(&second, &problem), (RowStrategy::Lanes { lanes: 64, held: 0 }, TUNED.to_owned()));
    assert_eq!(read(), edited);

    // Another problem joins it, and the context's own choices stay beside the file's.
    let mut own = Tuning::default().runtime_checks(false);
    own.insert(&Nll::new(), &problem, RowStrategy::Thread).expect("a loss over rows");
    let third = autotune(&gpu().with_tuning(own.clone()), &loss, &Problem::rows(8, 7), &path).expect("a measurement");
    assert_eq!((Tuning::load(&path).expect("the file").len(), third.tuning().len()), (2, 3));
    assert_eq!(third.tuning().get(&Nll::new(), &problem), Some(RowStrategy::Thread));
    assert_ne!(third.tuning(), &third.tuning().clone().runtime_checks(true), "the checks came back on");
}

#[test]
fn every_way_that_runs_is_measured() {
    let measured = measure(&gpu(), &CrossEntropy::new(), &Problem::rows(32, 64)).expect("a measurement");
    let ran: Vec<_> = measured.times.iter().map(|(strategy, _)| *strategy).collect();
    assert_eq!(measured.best(), ran[0]);
    let mut ways = vec![RowStrategy::Thread];
    match facts().shuffled() {
        Some(lanes) if facts().is_cpu => {
            ways.extend([RowStrategy::Tile { rows: 1 }, RowStrategy::Lanes { lanes, held: 0 }]);
        }
        _ => ways.push(RowStrategy::Lanes { lanes: 4, held: 2 }),
    }
    for expected in ways {
        assert!(ran.contains(&expected), "{expected} is not among {ran:?}");
    }
    let huge = measure(&gpu(), &CrossEntropy::new(), &Problem::rows(1 << 20, 64));
    assert!(matches!(huge, Err(Error::Unsupported { .. })), "{huge:?}");
    let cpu = measure(&Context::cpu(), &CrossEntropy::new(), &Problem::rows(32, 64));
    assert!(matches!(cpu, Err(Error::Unsupported { .. })), "{cpu:?}");
}

/// Every loss as its table has it, with targets out of range; and losses with one pass, with two and with lists of
/// labels in every other way of walking along a row.
#[test]
fn without_runtime_checks_the_bits_are_the_same() {
    let unchecked = gpu().with_tuning(Tuning::default().runtime_checks(false));
    let held = |lanes, held| RowStrategy::Lanes { lanes, held };
    let ways = [RowStrategy::Thread, held(8, 0), held(64, 1), RowStrategy::Split { lanes: 8, parts: 2 }];
    let walked = ["cross_entropy", "kl_from_logits", "multilabel_margin_loss"];
    table(|rows| {
        for (shape, strategies) in [(&[5, 10][..], vec![None]), (&[3, 403], ways.into_iter().map(Some).collect())] {
            for (name, loss) in cases::fullest(shape[1]) {
                if shape[1] > 10 && !walked.contains(&loss.info().name) {
                    continue;
                }
                let mut tensors = cases::example_inputs(&*loss, shape, 7).expect("every loss takes (N, C)");
                if let OwnedTarget::Indices(labels) = &mut tensors.target
                    && let Some(label) = labels.iter_mut().next()
                {
                    *label = 1 << 20;
                }
                let want = cases::everything(&*loss, &tensors);
                let problem = cases::problem(&tensors, want);
                for strategy in &strategies {
                    let run = |ctx: &Context| {
                        let prepared = match loss.prepare_with(ctx, &problem, *strategy) {
                            // Lists of labels are neither held nor split.
                            Err(Error::Unsupported { .. }) if loss.info().name == "multilabel_margin_loss" => {
                                return Ok(None);
                            }
                            prepared => prepared.map_err(reason)?,
                        };
                        let resident = Resident::new(ctx, &*loss, &tensors, want).map_err(reason)?;
                        let mut encoder = resident::encoder(ctx);
                        prepared.record(&mut encoder, &resident.buffers()).map_err(reason)?;
                        resident::submit(ctx, encoder);
                        Ok(Some(bits(&resident.output(&resident.download(ctx)))))
                    };
                    let compared = run(&gpu()).and_then(|checked| match run(&unchecked)? {
                        without if without == checked => Ok(()),
                        _ => Err("other bits without the checks".to_owned()),
                    });
                    rows.row(format!("{name} {shape:?} {strategy:?}"), compared);
                }
            }
        }
    });
}

/// Why loops may go uncounted: each counts one number up, by a step that is not 0, to a bound; nothing else changes
/// that number.
#[test]
fn every_loop_of_the_shaders_ends() {
    let mut loops = 0;
    for file in wgsl::files() {
        let code = file.code().split_whitespace().collect::<Vec<_>>().join(" ");
        let name = &file.name;
        for word in ["while", "continue"] {
            assert_eq!(wgsl::words(&code, word), 0, "{name}: `{word}`; only `for` and `loop`");
        }
        let written = ["for", "loop"].map(|word| wgsl::words(&code, word));
        let understood = ["for (var ", "loop {"].map(|start| code.matches(start).count());
        assert_eq!(written, understood, "{name}: a loop that is written in another way");
        for (at, _) in code.match_indices("for (var ") {
            loops += 1;
            if let Err(why) = for_loop(&code[at..]) {
                panic!("{name}: {why} in `{}`", &code[at..code.len().min(at + 100)]);
            }
        }
        for (at, _) in code.match_indices("loop {") {
            loops += 1;
            let body = &code[at..at + closing(&code[at..], '{', '}')];
            // NAME += STEP; if (NAME >= BOUND) { break; }
            let end = body.trim_end().strip_suffix("{ break; }").and_then(|rest| rest.rsplit_once("; if ("));
            let counter = end.and_then(|(before, test)| {
                let counter = test.split_once(" >= ")?.0;
                let (earlier, step) = before.rsplit_once(&format!("{counter} += "))?;
                (is_step(step) && ["; ", "} "].iter().any(|end| earlier.ends_with(end))).then_some(counter)
            });
            let counts = counter.is_some_and(|counter| changes(body, counter) == 1);
            assert!(counts, "{name}: `{body}` does not end by counting to a bound");
        }
    }
    assert!(loops > 15, "only {loops} loops found");
}

fn for_loop(code: &str) -> Result<(), &'static str> {
    let head_end = closing(code, '(', ')');
    let head = &code["for (".len()..head_end];
    let [start, test, step] = head.split(';').collect::<Vec<_>>()[..] else { return Err("no three parts") };
    let name = start.trim_start_matches("var ").split(' ').next().unwrap_or_default();
    // The bound, and other conditions that only end it sooner.
    let bounds = |part: &str| part.trim().trim_start_matches('(').starts_with(&format!("{name} < "));
    if !test.split('&').any(bounds) || test.contains('|') {
        return Err("no bound");
    }
    let body = &code[head_end..head_end + closing(&code[head_end..], '{', '}')];
    let step = step.trim();
    let steps = step == format!("{name}++")
        || step == format!("{name} <<= 1u") && start.ends_with("= 1u")
        || step.strip_prefix(&format!("{name} += ")).is_some_and(is_step);
    match (steps, changes(body, name)) {
        (true, 0) => Ok(()),
        // Counted by a loop inside.
        (false, 1) if step.is_empty() && body.contains("loop {") => Ok(()),
        _ => Err("the counter does not just go up"),
    }
}

/// Products of literals and of constants that are never 0.
fn is_step(step: &str) -> bool {
    step.split(" * ").all(|factor| {
        ["LANES", "WORKGROUP", "SHUFFLED", "IN_FLIGHT"].contains(&factor)
            || factor.strip_suffix('u').and_then(|n| n.parse().ok()).is_some_and(|n: u32| n > 0)
    })
}

/// How often a body assigns a name.
fn changes(body: &str, name: &str) -> usize {
    let signs = ["=", "+=", "-=", "*=", "<<=", ">>=", "&=", "|=", "^=", "/=", "%="];
    let words: Vec<&str> = body.split_whitespace().collect();
    let assigned = words.windows(2).filter(|pair| pair[0] == name && signs.contains(&pair[1])).count();
    assigned + words.iter().filter(|word| word.trim_end_matches([';', ')']) == format!("{name}++")).count()
}

/// Where the first bracket closes.
fn closing(code: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if c == close && depth == 0 {
            return at;
        }
    }
    code.len()
}

/// A plan tells people what runs and why, what else could, and what it binds.
#[test]
fn a_plan_prints_what_will_run() {
    let mut facts = AdapterFacts::default();
    facts.proven.subgroup_lanes = 32;
    let problem = Problem::rows(4096, 200).input_dtype(Dtype::Bf16);
    let lowered = CrossEntropy::new().lower(&problem).expect("a problem for cross-entropy");
    let text = Plan::new(&lowered, &problem, &facts, None).expect("a plan").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "strategy   lanes:8x4 (the row's lanes hold it in registers: one read)");
    assert_eq!(lines[1], "not taken  lanes:256x8 (longer than registers: the rest is read twice)");
    assert!(text.contains("\nstorage    input Bf16, gradient F32\n"), "{text}");
    assert!(text.contains("\nrelies on  groups of 32 lanes beyond WGSL's promises\n"), "{text}");
    assert!(text.contains("\ndispatch   deeploss.cross_entropy.rows, 256 x 1 workgroups, "), "{text}");
    assert!(lines[lines.len() - 1].starts_with("scratch    "), "{text}");
}
