// Deploys what serverless.yml says through tencent-component-toolkit 2.27.6, to an API that stands in for Tencent's.
//
//	node deploy.js URL <deployment.json
//
// The standard input is serverless.yml as JSON, with its parameters filled in. Each request is sent to URL, as JSON
// with its Action, and the response is what the API would answer.
//
// The component multi-scf 0.3.14 is not on npm. What it does before it calls the toolkit is small, and done here
// after its src/formatter.ts and src/index.ts (github.com/serverless-components/tencent-multi-scf, 2022-05-11):
// inputs are the defaults of each function; environments, a list, replaces what environment holds; a function
// is named name-stage-app-key.
'use strict';

const { Capi } = require('@tencent-sdk/capi');
const { Scf, TriggerManager } = require('tencent-component-toolkit');

console.log = (...words) => process.stderr.write(words.join(' ') + '\n');

Capi.prototype.request = async function (request) {
  const response = await fetch(process.argv[2], { method: 'POST', body: JSON.stringify(request) });
  if (!response.ok) {
    throw new Error(`the API answers ${response.status}: ${await response.text()}`);
  }
  return response.json();
};

function settings(deployment, key) {
  const { src, functions, triggers, ...shared } = deployment.inputs;
  const f = { type: 'event', namespace: 'default', ...shared, ...functions[key] };
  f.name ??= `${deployment.name}-${deployment.stage}-${deployment.app}-${key}`;
  f.environment = { variables: Object.fromEntries((f.environments ?? []).map((e) => [e.key, e.value])) };
  f.code = { bucket: 'code', object: 'groupimport.zip' };
  return f;
}

async function deploy(deployment) {
  const credentials = { SecretId: 'id', SecretKey: 'key' };
  const { region, namespace, functions, triggers } = deployment.inputs;
  const all = Object.fromEntries(Object.keys(functions).map((key) => [key, settings(deployment, key)]));
  const scf = new Scf(credentials, region);
  for (const f of Object.values(all)) {
    await scf.deploy(f);
  }
  const bound = triggers.map((t) => {
    const { name, type, namespace } = all[t.function];
    return { ...t, namespace, function: { name, type, namespace } };
  });
  await new TriggerManager(credentials, region).bulkCreateTriggers(bound, namespace);
}

deploy(JSON.parse(require('fs').readFileSync(0, 'utf8'))).catch((err) => {
  process.stderr.write(`${err.stack}\n`);
  process.exit(1);
});
