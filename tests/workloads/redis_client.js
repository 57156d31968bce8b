// Redis by ioredis: redis_client.js PORT|PATH COUNT. Many commands at a time over one connection, of which
// nobody waits for the others, then a few pipelines.
"use strict";
const Redis = require("ioredis");

async function main() {
  const [target, count] = [process.argv[2], Number(process.argv[3])];
  const where = target.startsWith("/") ? { path: target } : { port: Number(target) };
  const redis = new Redis({ ...where, enableReadyCheck: false, disableClientInfo: true });
  const all = [];
  for (let number = 0; number < count; number++) {
    all.push(redis.set(`key${number}`, "x".repeat(number)));
    all.push(redis.get(`key${number}`));
  }
  await Promise.all(all);
  for (let round = 0; round < 5; round++) {
    const pipeline = redis.pipeline();
    for (let number = 0; number < 100; number++) pipeline.incr("counter");
    await pipeline.exec();
  }
  await redis.multi().set("a", 1).get("a").exec();
  await redis.quit();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
