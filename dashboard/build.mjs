// Builds the page into dist/, which is what the program embeds, or with --tests the unit tests into build-tests/.
// The result depends on the sources and on package-lock.json only, so that it can be compared byte by byte.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const at = (...parts) => join(here, ...parts);
const common = { absWorkingDir: here, bundle: true, charset: "utf8", legalComments: "none", logLevel: "warning" };

// Its licence wants its notice in every copy of it, and the page goes where no other file does.
async function notice() {
    const text = (await readFile(at("licenses", "uPlot.txt"), "utf8")).trim();
    return `/*!\nuPlot, which is in here:\n\n${text}\n*/`;
}

async function page(out) {
    await rm(out, { recursive: true, force: true });
    await mkdir(out, { recursive: true });
    const with_uplot = await notice();
    const files = [
        [{ app: "src/main.ts" }, { format: "iife", banner: { js: with_uplot } }],
        [{ theme: "src/theme.ts" }, { format: "iife" }],
        [{ app: "src/style.css" }, { banner: { css: with_uplot } }],
    ];
    for (const [entryPoints, more] of files)
        await build({ ...common, entryPoints, outdir: out, target: ["chrome109", "firefox115", "safari16"], minify: true, ...more });
    for (const name of ["index.html", "icon.svg"])
        await copyFile(at("src", name), join(out, name));
}

async function tests() {
    const out = at("build-tests");
    await rm(out, { recursive: true, force: true });
    const names = (await readdir(at("tests"))).filter((n) => n.endsWith(".test.ts"));
    await build({
        ...common,
        entryPoints: names.map((n) => `tests/${n}`),
        outdir: out,
        outExtension: { ".js": ".mjs" },
        format: "esm",
        platform: "node",
        target: "node18",
    });
}

const where = process.argv.indexOf("--out");
if (process.argv.includes("--tests"))
    await tests();
else
    await page(where > 0 ? process.argv[where + 1] : at("dist"));
