// Statements by mysql2 (Node): mysql_client.js TARGET USER PASSWORD TEXT PREPARED [TRANSACTIONS]. Each
// connection of a pool of four makes so many statements of the text protocol, and so many prepared ones;
// or so many transactions of prepared ones. The last line of output is a JSON object from what each call was
// and how it ended to how many there were.
'use strict';

const mysql = require('mysql2/promise');

const CONNECTIONS = 4;
const [target, user, password, text, prepared, transactions] = process.argv.slice(2);
const calls = {};

function note(what, number) {
  calls[what] = (calls[what] || 0) + number;
}

async function transact(db, number) {
  for (let index = 0; index < Number(transactions); index++) {
    await db.execute('BEGIN');
    await db.execute('UPDATE orders SET price = price + ? WHERE id = ?', [1, number]);
    await db.execute('SELECT price FROM orders WHERE id = ?', [number]);
    await db.execute('COMMIT');
  }
  note('PREPARE -', 2);
  note('PREPARE orders -', 2);
  for (const what of ['BEGIN -', 'UPDATE orders -', 'SELECT orders -', 'COMMIT -']) {
    note(what, Number(transactions));
  }
  await db.end();
}

async function talk(_, number) {
  const [host, port] = target.split(':');
  const where = host === 'unix' ? { socketPath: port } : { host, port: Number(port) };
  const db = await mysql.createConnection({ user, password, database: 'shop', ...where });
  if (transactions) return transact(db, number);
  for (let index = 0; index < Number(text); index++) {
    await db.query('SELECT id, name FROM orders WHERE id = ?', [index]);
  }
  note('SELECT orders -', Number(text));
  for (let index = 0; index < Number(prepared); index++) {
    await db.execute('SELECT id, price FROM orders WHERE id = ?', [index]);
  }
  note('SELECT orders -', Number(prepared));
  await db.execute('UPDATE orders SET price = ? WHERE id = ?', [1, -1]);
  note('UPDATE orders -', 1);
  note('PREPARE orders -', 2);
  try {
    await db.execute('SELECT * FROM missing WHERE id = ?', [1]);
  } catch (error) {
    note(`PREPARE missing ${error.errno}`, 1);
  }
  await db.unprepare('SELECT id, price FROM orders WHERE id = ?');
  await db.ping();
  note('PING -', 1);
  await db.end();
}

Promise.all(Array.from({ length: CONNECTIONS }, talk)).then(() => console.log(JSON.stringify(calls)));
