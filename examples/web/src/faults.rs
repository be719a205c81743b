//! Faults of a device, as a page meets them: a browser tells of them later, and each must end in an error all the same. The page's
//! test asks for this report.

use deeploss::ndarray::array;
use deeploss::{Buffers, Context, CrossEntropy, Error, Evaluate, Prepared, Problem, Tensors, wgpu};

use crate::readback::arrived;

/// What did not end as it should, a line each.
pub async fn faults() -> Vec<String> {
    let mut report = Vec::new();
    let mut check = |what: &str, holds: bool, got: String| {
        if !holds {
            report.push(format!("{what}: {got}"));
        }
    };
    let Ok(ctx) = device().await else { return vec!["this needs WebGPU".into()] };

    // More storage buffers than WebGPU's default limits allow, by facts that are not true.
    let mut facts = ctx.facts().expect("a GPU").clone();
    facts.max_storage_buffers = 16;
    let untrue = ctx.with_facts(facts).expect("a GPU");
    let loss = CrossEntropy::new().weight([1.0; 5]);
    let problem = Problem::rows(40, 5).with_ignore_mask().with_grad_output().with_sample_weight();
    for time in ["at first", "again"] {
        let prepared = loss.prepare_async(&untrue, &problem).await;
        check(&format!("a kernel that the device refuses, {time}"), is_device(&prepared), format!("{prepared:?}"));
    }
    let found = match loss.prepare(&untrue, &problem) {
        // Without tensors nothing is recorded, but the readback knows what was prepared.
        Ok(prepared) => read(&ctx, &prepared).await,
        Err(error) => Err(error),
    };
    check("a readback of a call that the device refuses", is_device(&found), format!("{found:?}"));

    // What the device refused does not harm it.
    let (logits, labels) = (array![[1.0_f32, 2.0]], array![0]);
    let tensors = Tensors::new(logits.view(), labels.view());
    let loss = CrossEntropy::new();
    let evaluated = loss.evaluate_async(&ctx, &tensors).await;
    let value = evaluated.as_ref().ok().and_then(|out| out.scalar());
    check("a call after it", value.is_some_and(|v| (v - 1.313_261_6).abs() < 1e-6), format!("{evaluated:?}"));

    // A call that was prepared before its device is lost, and calls after it.
    let problem = Problem::rows(1, 2);
    let prepared = loss.prepare_async(&ctx, &problem).await;
    ctx.device().expect("a GPU").destroy();
    if let Ok(prepared) = &prepared {
        let found = read(&ctx, prepared).await;
        check("a readback on a lost device", is_device(&found), format!("{found:?}"));
        let bound = prepared.bind(&Buffers::default());
        check("a bind without tensors", matches!(bound, Err(Error::Missing { .. })), format!("{bound:?}"));
    }
    check("a call that is prepared", prepared.is_ok(), format!("{prepared:?}"));
    let again = loss.prepare_async(&ctx, &problem).await;
    check("prepare on a lost device", is_device(&again), format!("{again:?}"));
    let evaluated = loss.evaluate_async(&ctx, &tensors).await;
    check("evaluate on a lost device", is_device(&evaluated), format!("{evaluated:?}"));
    let proven = ctx.prove_async().await;
    check("prove on a lost device", is_device(&proven), format!("{proven:?}"));

    let fresh = device().await;
    let evaluated = match &fresh {
        Ok(fresh) => loss.evaluate_async(fresh, &tensors).await,
        Err(error) => Err(error.clone()),
    };
    check("a new context", evaluated.is_ok(), format!("{evaluated:?}"));
    report
}

/// [`faults`] as text, empty if all is well.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen(js_name = faults)]
pub async fn faults_as_text() -> String {
    faults().await.join("\n")
}

/// A device with WebGPU's default limits.
async fn device() -> Result<Context, Error> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await;
    let adapter = adapter.map_err(|error| Error::device(error.to_string()))?;
    let device = adapter.request_device(&wgpu::DeviceDescriptor::default()).await;
    let (device, queue) = device.map_err(|error| Error::device(error.to_string()))?;
    Ok(Context::from_wgpu(&adapter, device, queue))
}

/// The status of a call, read from where it left it.
async fn read(ctx: &Context, prepared: &Prepared) -> Result<Vec<Vec<u8>>, Error> {
    let (Some(device), Some(queue)) = (ctx.device(), ctx.queue()) else { return Err(Error::device("no GPU")) };
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let readback = prepared.read(&mut encoder, &[])?;
    queue.submit([encoder.finish()]);
    arrived(readback).await
}

fn is_device<T>(got: &Result<T, Error>) -> bool {
    matches!(got, Err(Error::Device { .. }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn faults_end_in_errors_natively_too() {
        assert_eq!(pollster::block_on(super::faults()), Vec::<String>::new());
    }
}
