// Compiles programs by Dawn, a line of JSON for each; see worker.rs for the answers.

import { createInterface } from 'node:readline';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
const adapter = await gpu.requestAdapter();
const limits = {};
for (const name of ['maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX', 'maxStorageBuffersPerShaderStage',
    'maxComputeWorkgroupStorageSize']) {
    limits[name] = adapter.limits[name];
}
const device = await adapter.requestDevice({ requiredFeatures: ['subgroups'], requiredLimits: limits });

// The last module: programs of a module follow each other.
let text, module;

async function compile(request) {
    device.pushErrorScope('validation');
    if (request.text !== text) {
        module = device.createShaderModule({ code: request.text });
        text = request.text;
    }
    const COMPUTE = GPUShaderStage.COMPUTE;
    const entries = [{ binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', minBindingSize: request.uniform_bytes } }];
    for (const { slot, written, stride } of request.bindings) {
        const type = written ? 'storage' : 'read-only-storage';
        entries.push({ binding: slot, visibility: COMPUTE, buffer: { type, minBindingSize: stride } });
    }
    const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
    device.createComputePipeline({ layout, compute: { module, entryPoint: request.entry, constants: request.constants } });
    const error = await device.popErrorScope();
    return error?.message;
}

const info = adapter.info;
console.log('ready ' + JSON.stringify({
    subgroups: adapter.features.has('subgroups'),
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    storage_buffers: limits.maxStorageBuffersPerShaderStage,
}));
for await (const line of createInterface({ input: process.stdin })) {
    const start = process.cpuUsage();
    let message;
    try {
        message = await compile(JSON.parse(line));
    } catch (error) {
        message = String(error);
    }
    const { user, system } = process.cpuUsage(start);
    const seconds = ((user + system) * 1e-6).toFixed(4);
    console.log(message === undefined ? `ok ${seconds}` : `refused ${seconds} ${message.replace(/\s+/g, ' ')}`);
}
