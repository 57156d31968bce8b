// Statements by MariaDB's own driver for Node, which sends commands before the last one was answered and
// executes in bulk: mariadb_client.js TARGET USER PASSWORD NUMBER. The last line of output is a JSON
// object from what each call was and how it ended to how many there were.
'use strict';

const mariadb = require('mariadb');

const [target, user, password, number] = process.argv.slice(2);
const calls = {};

function note(what, more = 1) {
  calls[what] = (calls[what] || 0) + more;
}

async function main() {
  const [host, port] = target.split(':');
  const where = host === 'unix' ? { socketPath: port } : { host, port: Number(port) };
  const db = await mariadb.createConnection({ user, password, database: 'shop', ...where });
  // What the driver does by itself when it connects.
  note('SET -');
  const all = [];
  for (let index = 0; index < Number(number); index++) {
    all.push(db.query('SELECT id, name FROM orders WHERE id = ?', [index]));
    note('SELECT orders -');
    if (index % 10 === 0) {
      all.push(db.query('SELECT nothing FROM orders').catch((error) => {
        note(`SELECT orders ${error.errno}`);
      }));
      all.push(db.query('UPDATE orders SET price = price + 1 WHERE id = ?', [index]));
      note('UPDATE orders -');
    }
  }
  await Promise.all(all);
  for (let index = 0; index < Number(number); index++) {
    await db.execute('SELECT price FROM orders WHERE id = ?', [index]);
  }
  note('PREPARE orders -');
  note('SELECT orders -', Number(number));
  await db.batch('INSERT INTO loaded (name) VALUES (?)', [['a'], ['b'], ['c']]);
  note('PREPARE loaded -');
  note('INSERT loaded -');
  await db.ping();
  note('PING -');
  await db.end();
  console.log(JSON.stringify(calls));
}

main();
