// Validates WGSL files with Dawn, the WebGPU implementation that tint is the shader compiler of:
// the substitute where no `tint` is installed.
//
//     node validate.mjs --modules=DIR FILE.wgsl...
//
// DIR is where `npm ci` put the packages of package.json. Exit code: 0 every file is valid,
// 1 some file is not, 2 the check itself could not run. Diagnostics go to stderr as FILE:LINE:COLUMN.
//
// Dawn's `null` backend is used: the whole front end with every feature and no driver, so that a
// shader's verdict does not depend on the machine. (Dawn refuses older lavapipes altogether.)

import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const fail = (message) => {
  console.error(`validate.mjs: ${message}`);
  process.exit(2);
};

const options = process.argv.slice(2).filter((a) => a.startsWith("--"));
const files = process.argv.slice(2).filter((a) => !a.startsWith("--"));
const modules = options.find((o) => o.startsWith("--modules="))?.slice("--modules=".length);
const unknown = options.find((o) => !o.startsWith("--modules="));
if (unknown) fail(`unknown option ${unknown}`);
if (!modules) fail("say where the npm packages are: --modules=DIR");
if (files.length === 0) fail("no files given");

const entry = join(resolve(modules), "node_modules", "webgpu", "index.js");
if (!existsSync(entry)) fail(`${entry} is missing; \`cargo xtask ci --only shaders --tint dawn\` installs it`);

let webgpu;
try {
  webgpu = await import(pathToFileURL(entry).href);
} catch (error) {
  fail(`Dawn does not load on this machine: ${error.message}`);
}
Object.assign(globalThis, webgpu.globals);

const gpu = webgpu.create(["backend=null"]);
const adapter = await gpu.requestAdapter();
if (!adapter) fail("Dawn offers no adapter");
const offered = [...adapter.features];
const device = await adapter.requestDevice({ requiredFeatures: offered });

let invalid = 0;
for (const file of files) {
  let code;
  try {
    code = readFileSync(file, "utf8");
  } catch (error) {
    console.error(`${file}: error: cannot be read: ${error.message}`);
    invalid += 1;
    continue;
  }
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const refused = await device.popErrorScope();
  const errors = messages.filter((m) => m.type === "error");
  if (!refused && errors.length === 0) continue;

  invalid += 1;
  const lines = code.split("\n");
  for (const { type, lineNum, linePos, message } of messages) {
    console.error(`${file}:${lineNum}:${linePos} ${type}: ${message}`);
    if (lineNum > 0 && lineNum <= lines.length) console.error(`    ${lines[lineNum - 1]}`);
    if (/extension '\w+' is not allowed/.test(message)) {
      console.error(`${file}: this Dawn cannot validate the shader: it offers only ${offered.sort().join(", ")}`);
    }
  }
  if (errors.length === 0) console.error(`${file}: error: ${refused.message}`);
}

device.destroy();
// Dawn's threads keep node alive otherwise.
process.exit(invalid === 0 ? 0 : 1);
