// Objects of the Kubernetes API as a JSON list on standard input: each must fit its schema, and have no field that the schema
// does not know. The compiled validators let unknown fields pass, so the ones that they never look at are found by watching them.
import { readFileSync } from "node:fs";

const capital = (s) => s.slice(0, 1).toUpperCase() + s.slice(1);

async function validatorOf({ apiVersion, kind }) {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["core", apiVersion];
  const name = "IoK8sApi" + group.split(".")[0].split("-").map(capital).join("") + capital(version) + kind;
  return (await import(`kubernetes-models/_schemas/${name}`)).validate;
}

// The same object, and a function that names the members nobody has looked at.
function watched(value, path = "") {
  if (value === null || typeof value !== "object") return { value, unseen: () => [] };
  const children = new Map(Object.entries(value).map(([key, child]) => [key, watched(child, `${path}/${key}`)]));
  const seen = new Set();
  return {
    value: new Proxy(value, {
      get(target, key) {
        seen.add(key);
        return children.get(key)?.value ?? target[key];
      },
      ownKeys(target) {
        for (const key of children.keys()) seen.add(key); // a map, whose keys are free
        return Reflect.ownKeys(target);
      },
    }),
    unseen: () => [...children].flatMap(([key, child]) => (seen.has(key) ? child.unseen() : [`${path}/${key}: there is no such field`])),
  };
}

let faults = 0;
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${object.kind} ${object.metadata?.name}`;
  const validate = await validatorOf(object);
  const w = watched(object);
  const found = [];
  if (!validate(w.value)) found.push(...validate.errors.map((e) => `${e.instancePath}: ${e.keyword} ${JSON.stringify(e.params)}`));
  found.push(...w.unseen());
  for (const fault of found) console.error(`${name}: ${fault}`);
  faults += found.length;
  if (!found.length) console.log(`${name}: ok`);
}
process.exit(faults ? 1 : 0);
