// Calls of PostgreSQL by node-postgres; says what it called, as JSON on the last line.
//
// postgres_client.js HOST PORT [--before]

'use strict';

const { Client } = require('pg');

const [host, port, before] = process.argv.slice(2);
const calls = {};

function called(what, count, error = '-') {
  const key = `${what} ${error}`;
  calls[key] = (calls[key] || 0) + count;
}

async function times(count, run) {
  for (let number = 0; number < count; number++) await run(number);
}

async function main() {
  const client = new Client({ host, port: Number(port), user: 'postgres', database: 'shop' });
  await client.connect();
  const named = (number) =>
    client.query({ name: 'one', text: 'SELECT id FROM orders WHERE id = $1', values: [number] });
  if (before) {
    await times(5, named);
    console.log(JSON.stringify({ waiting: true }));
    await new Promise((resolve) => process.stdin.once('data', resolve));
    process.stdin.unref();
  }
  await times(200, (number) => client.query(`SELECT * FROM items WHERE id = ${number}`));
  called('SELECT items', 200);
  await times(200, (number) => client.query('UPDATE orders SET amount = $1 WHERE id = 1', [number]));
  called('UPDATE orders', 200);
  await times(200, named);
  called(before ? 'SELECT' : 'SELECT orders', 200);
  await times(20, () => client.query('SELECT * FROM missing').catch(() => called('SELECT missing', 1, '42P01')));
  await times(20, () =>
    client.query('SELECT * FROM missing WHERE id = $1', [1]).catch(() => called('SELECT missing', 1, '42P01')));
  await Promise.all(Array.from({ length: 100 }, () => client.query('DELETE FROM log WHERE false')));
  called('DELETE log', 100);
  await client.end();
  console.log(JSON.stringify(calls));
}

main();
