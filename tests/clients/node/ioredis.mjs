// ioredis, as it is, against lanemapd.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis, ReplyError } from 'ioredis';
import { control, eventually, password, port, socket, sorted } from './harness.mjs';

const patient = { retryStrategy: () => 20, maxRetriesPerRequest: null };
const transports = { unix: { path: socket }, tcp: { host: '127.0.0.1', port } };

// A client of one test, which disconnects it: node ends when nothing is open.
function connected(t, options) {
    const client = new Redis({ password, ...options });
    client.on('error', () => {});
    t.after(() => client.disconnect());
    return client;
}

for (const [transport, options] of Object.entries(transports))
    for (const protocol of [2, 3]) {
        const key = `io.${transport}.${protocol}`;

        test(`words over ${transport}, RESP${protocol}`, async (t) => {
            const client = connected(t, { ...options, protocol });
            assert.equal(await client.ping(), 'PONG');
            assert.equal(await client.sadd(key, 1, 2, 3), 3);
            assert.equal(await client.sadd(key, 3), 0);
            assert.deepEqual(sorted(await client.smembers(key)), ['1', '2', '3']);
            assert.deepEqual([await client.sismember(key, 2), await client.sismember(key, 9)], [1, 0]);
            assert.deepEqual(await client.smismember(key, 1, 9), [1, 0]);
            assert.equal(await client.scard(key), 3);
            assert.equal(await client.srem(key, 1, 9), 1);
            assert.deepEqual([await client.exists(key, 'none'), await client.type(key)], [1, 'set']);
            assert.equal(await client.del(key), 1);
            assert.deepEqual(sorted(await client.smembers(key)), []);
        });

        test(`pipelines and transactions over ${transport}, RESP${protocol}`, async (t) => {
            const client = connected(t, { ...options, protocol });
            const pipeline = client.pipeline();
            for (let i = 0; i < 5000; i++) pipeline.sadd(`${key}.${i % 50}`, i);
            assert.ok((await pipeline.exec()).every(([error, answer]) => error === null && answer === 1));
            assert.equal(await client.scard(`${key}.7`), 100);

            const done = await client.multi().sadd(key, 1, 2).srem(key, 1).smembers(key).scard(key).exec();
            assert.deepEqual(done.map(([, answer]) => Array.isArray(answer) || answer instanceof Set ? sorted(answer) : answer),
                [2, 1, ['2'], 1]);
            const mixed = await client.multi().sadd(key, 5).sadd(key, 'no number').sadd(key, 6).exec();
            assert.deepEqual([mixed[0][1], mixed[2][1]], [1, 1]);
            assert.ok(mixed[1][0] instanceof ReplyError);
            await assert.rejects(client.multi().sadd(key, 7).call('NOSUCHWORD').exec(), /EXECABORT/);
            assert.deepEqual(sorted(await client.smembers(key)), ['2', '5', '6']);
        });
    }

test('keys of any bytes', async (t) => {
    const client = connected(t, transports.unix);
    const key = Buffer.from([0, 255, 13, 10, 42, 1]);
    assert.equal(await client.sadd(key, 7), 1);
    assert.deepEqual([...await client.smembersBuffer(key)], [Buffer.from('7')]);
});

test('errors are ReplyError', async (t) => {
    const client = connected(t, transports.unix);
    await assert.rejects(client.sadd('k', 'x'), (error) => error instanceof ReplyError &&
        error.message === 'ERR value is not an integer or out of range');
    await assert.rejects(client.call('NOSUCHWORD'), ReplyError);
    await assert.rejects(client.set('k', 'v'), ReplyError);
    assert.equal(await client.ping(), 'PONG');

    for (const [wrong, sentence] of [['wrong', /WRONGPASS/], [undefined, /NOAUTH/]]) {
        const refused = connected(t, { ...transports.tcp, password: wrong, retryStrategy: () => null });
        await assert.rejects(refused.sadd('k', 1), sentence);
    }
});

test('what an operator asks', async (t) => {
    const client = connected(t, { ...transports.unix, connectionName: 'routes' });
    assert.equal(await client.client('GETNAME'), 'routes');
    assert.match(await client.info('keyspace'), /db0:keys=\d+/);
    assert.deepEqual(await client.config('GET', 'maxclients'), ['maxclients', '10000']);
});

test('CLIENT INFO', async (t) => {
    const client = connected(t, { ...transports.unix, connectionName: 'routes' });
    assert.match(await client.client('INFO'), / name=routes .* lib-name=ioredis/);
});

test('many clients at once, with automatic pipelines', async (t) => {
    const many = Array.from({ length: 20 }, () => connected(t, { ...transports.tcp, enableAutoPipelining: true }));
    const answers = await Promise.all(many.flatMap((client, n) =>
        Array.from({ length: 100 }, (_, i) => client.sadd('io.all', n * 100 + i))));
    assert.ok(answers.every((answer) => answer === 1));
    assert.equal(await many[0].scard('io.all'), 2000);
});

test('a daemon that dies and comes back', async (t) => {
    const client = connected(t, { ...transports.tcp, ...patient });
    assert.equal(await client.sadd('io.reborn', 1), 1);
    const closed = new Promise((resolve) => client.once('close', resolve));
    await control('kill');
    await closed;
    const queued = client.sadd('io.reborn', 2); // waits in the client until it is connected again
    await control('start');
    assert.equal(await queued, 1);
    assert.deepEqual(sorted(await eventually(() => client.smembers('io.reborn'))), ['1', '2']);
});
