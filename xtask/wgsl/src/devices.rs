//! Devices by name: the facts that a plan is made from, without the device.

use deeploss::AdapterFacts;

/// A kind of device.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// What it is called on a command line.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    is_cpu: bool,
    subgroup: Option<(u32, u32)>,
    int64: bool,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limits {
    /// What every WebGPU device has.
    Minimum,
    /// A quarter of the invocations of a workgroup.
    FewInvocations,
    /// A discrete GPU's.
    Large,
}

const MINIMUM: Device = Device {
    name: "webgpu",
    about: "WebGPU's minimum: no subgroups, 8 storage buffers, 16 KiB of workgroup memory",
    is_cpu: false,
    subgroup: None,
    int64: false,
    limits: Limits::Minimum,
};

const LARGE: Device = Device { limits: Limits::Large, ..MINIMUM };

/// All of them, the one to assume first.
pub const DEVICES: &[Device] = &[
    MINIMUM,
    Device { name: "web32", about: "WebGPU's minimum with subgroups of 32", subgroup: Some((32, 32)), ..MINIMUM },
    Device { name: "web8-32", about: "WebGPU's minimum with subgroups of 8 to 32", subgroup: Some((8, 32)), ..MINIMUM },
    Device {
        name: "small",
        about: "WebGPU's minimum with at most 64 invocations in a workgroup",
        limits: Limits::FewInvocations,
        ..MINIMUM
    },
    Device { name: "nvidia", about: "a GPU with subgroups of 32 and large limits", subgroup: Some((32, 32)), ..LARGE },
    Device {
        name: "rdna",
        about: "a GPU with subgroups of 32 to 64 and large limits",
        subgroup: Some((32, 64)),
        ..LARGE
    },
    Device { name: "gcn", about: "a GPU with subgroups of 64 and large limits", subgroup: Some((64, 64)), ..LARGE },
    Device {
        name: "lavapipe",
        about: "Mesa on the CPU: subgroups of 8, words of 64 bits",
        is_cpu: true,
        subgroup: Some((8, 8)),
        int64: true,
        limits: Limits::Large,
    },
    Device {
        name: "cpu64",
        about: "a CPU adapter with subgroups of 8, words of 64 bits and WebGPU's minimum",
        is_cpu: true,
        subgroup: Some((8, 8)),
        int64: true,
        ..MINIMUM
    },
    Device {
        name: "cpu8",
        about: "a CPU adapter with subgroups of 8 and WebGPU's minimum",
        is_cpu: true,
        subgroup: Some((8, 8)),
        ..MINIMUM
    },
    Device { name: "cpu", about: "a CPU adapter without subgroups and with WebGPU's minimum", is_cpu: true, ..MINIMUM },
];

impl Device {
    /// The device of this name.
    ///
    /// # Errors
    /// The names that there are.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        DEVICES.iter().find(|device| device.name == name).ok_or_else(|| {
            let names: Vec<_> = DEVICES.iter().map(|device| device.name).collect();
            format!("facts: expected {}, got `{name}`", names.join(", "))
        })
    }

    /// What a plan is made from.
    #[must_use]
    pub fn facts(&self) -> AdapterFacts {
        let mut facts = AdapterFacts::default();
        facts.name = self.name.into();
        facts.is_cpu = self.is_cpu;
        facts.subgroup = self.subgroup;
        // As seen on every device that has been asked so far.
        if let Some((smallest, _)) = self.subgroup {
            facts.proven.subgroup_lanes = smallest.min(32);
            (facts.proven.exp2, facts.proven.fma, facts.proven.opaque) = (true, true, true);
            (facts.proven.unpack_f16, facts.proven.pack_f16) = (true, true);
        }
        facts.int64 = self.int64;
        match self.limits {
            Limits::Minimum => {}
            Limits::FewInvocations => facts.max_invocations = 64,
            Limits::Large => {
                facts.f16 = true;
                facts.max_binding = 1 << 31;
                facts.max_storage_buffers = 16;
                facts.max_invocations = 1024;
                facts.max_workgroup_memory = 32 << 10;
            }
        }
        facts
    }

    /// Whether a browser may have such a device: WGSL itself has no integers of 64 bits.
    #[must_use]
    pub fn is_web(&self) -> bool {
        !self.int64
    }
}
