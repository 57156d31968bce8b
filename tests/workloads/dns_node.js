// Asks a resolver through c-ares: node dns_node.js RESOLVER NAME...
// Prints how many addresses each name has, or the error's code.
const { Resolver } = require("dns").promises;

const [address, ...names] = process.argv.slice(2);
const resolver = new Resolver({ timeout: 5000, tries: 1 });
resolver.setServers([address]);

async function main() {
  const found = await Promise.all(
    names.map((name) => resolver.resolve4(name).then((all) => all.length, (error) => error.code)),
  );
  console.log(JSON.stringify(found));
}

main();
