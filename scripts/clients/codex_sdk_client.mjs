// Drives Codex with OpenAI's TypeScript SDK (`@openai/codex-sdk`): arguments are the SDK's folder, the program, the
// model's URL and a number of further turns to time. Prints what the SDK returned, as JSON.

const [sdk, program, model, rounds] = process.argv.slice(2);
const { Codex } = await import(sdk);

const codex = new Codex({ codexPathOverride: program });
const options = { skipGitRepoCheck: true };
const waiting = async () => (await (await fetch(`${model}/v1/models`)).json()).waiting;
const seen = [];
const times = [];

const item = ({ type, text, command, aggregated_output, exit_code }) => ({ type, text, command, aggregated_output, exit_code });
const turn = async (thread, prompt, more) => {
  try {
    const { items, finalResponse, usage } = await thread.run(prompt, more);
    seen.push(["completed", finalResponse, items.map(item), usage]);
  } catch (error) {
    seen.push([error.name, error.message]);
  }
};

const thread = codex.startThread(options);
await turn(thread, "list what is here");
await turn(thread, "say two");
await turn(codex.startThread(options), "fail please");
const abort = new AbortController();
const before = await waiting();
const interrupted = turn(codex.startThread(options), "wait please", { signal: abort.signal });
while ((await waiting()) === before) await new Promise((next) => setTimeout(next, 10));
abort.abort();
await interrupted;
for (let round = 0; round < Number(rounds); round += 1) {
  const began = performance.now();
  await codex.startThread(options).run("say again");
  times.push((performance.now() - began) / 1000);
}
console.log(JSON.stringify({ seen, times }));
