// Have ComponentizeJS make a component of the application; its Wizer is the program that is named.
import { componentize } from "@bytecodealliance/componentize-js";
import { readFile } from "node:fs/promises";

const [programs, wizerBin] = process.argv.slice(2);
await componentize(await readFile(`${programs}/greeting.js`, "utf8"), {
  witPath: `${programs}/greeting.wit`,
  worldName: "greeting",
  disableFeatures: ["http", "fetch-event"],
  wizerBin,
});
