//! A device that nobody else uses.

use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn_cubecl::cubecl::future::block_on;

/// A device of its own, made by the caller and given to Burn: what is measured or found on it is of one caller alone.
pub(crate) fn alone() -> Device {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect(deeploss::INSTALL_A_DRIVER);
    let descriptor = wgpu::DeviceDescriptor {
        // The runtime takes what the adapter has for what the device has.
        required_features: adapter.features() & !wgpu::Features::all_experimental_mask(),
        required_limits: adapter.limits(),
        ..Default::default()
    };
    let (device, queue) = block_on(adapter.request_device(&descriptor)).expect("a device");
    let backend = adapter.get_info().backend;
    let setup = WgpuSetup { instance, adapter, device, queue, backend };
    Device::wgpu_options().setup(setup).init().expect("a device").autodiff()
}
