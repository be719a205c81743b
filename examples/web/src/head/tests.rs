//! The head on the GPU against the CPU reference in double precision.

use std::time::Instant;

use super::*;

fn gpu() -> Context {
    Context::new().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn looks_are_those_of_the_reference() {
    for ctx in [gpu(), Context::cpu()] {
        let mut head = pollster::block_on(Head::new(&ctx, 2)).unwrap();
        for temperature in [0.5, 1.0, 3.0] {
            let look = pollster::block_on(head.look(temperature)).unwrap();
            let logits = head.logits.mapv(f64::from);
            let tensors = Tensors::new(logits.view(), head.labels.view());
            let exact = CrossEntropy::new()
                .temperature(temperature)
                .reference(&tensors.wants(Want::LOSS | Want::STATS))
                .unwrap();
            let stats = exact.stats.as_ref().unwrap();
            for (got, exact) in
                [(look.loss, exact.scalar().unwrap()), (look.lse, stats.lse[0]), (look.entropy, stats.entropy[0])]
            {
                assert!((f64::from(got) - exact).abs() < 1e-5 * exact, "T = {temperature}: {got}, exactly {exact}");
            }
            assert_eq!(look.argmax, stats.argmax[0]);
            // The page draws probabilities from these.
            let ranked = head.ranked();
            let sum: f64 = ranked.iter().map(|x| f64::from(x / temperature - look.lse).exp()).sum();
            assert!((sum - 1.0).abs() < 1e-4, "probabilities add to {sum}");
            assert_eq!(ranked[TRUE_RANK], head.logits[[0, head.labels[0] as usize]]);
        }
    }
}

#[test]
fn a_copy_copies_and_time_passes() {
    let mut head = pollster::block_on(Head::new(&gpu(), 1)).unwrap();
    let begun = Instant::now();
    let seconds = pollster::block_on(head.run(Work::Fused, 20)).unwrap();
    let waited = begun.elapsed().as_secs_f64();
    assert_eq!(seconds.is_some(), head.has_clock());
    if let Some(seconds) = seconds {
        assert!(
            seconds > 0.0 && seconds <= waited,
            "{seconds} s by the device's clock, of {waited} s until it was done"
        );
    }
    pollster::block_on(head.run(Work::Copy, 1)).unwrap();
    let gpu = head.gpu.as_ref().unwrap();
    let mut encoder = gpu.encoder();
    let (prepared, _) = gpu.timed.as_ref().unwrap();
    let readback = prepared.read(&mut encoder, &[gpu.grad.as_entire_buffer_binding()]).unwrap();
    gpu.queue.submit([encoder.finish()]);
    let copied: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.wait().unwrap()[0]);
    assert!(copied.iter().eq(&head.logits));
}

#[test]
fn a_temperature_of_zero_is_refused() {
    let mut head = pollster::block_on(Head::new(&Context::cpu(), 1)).unwrap();
    let error = pollster::block_on(head.look(0.0)).unwrap_err();
    assert!(error.to_string().contains("temperature"), "{error}");
}
