// node-redis, as it is, against lanemapd.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient, ErrorReply, RESP_TYPES } from 'redis';
import { control, eventually, password, port, socket, sorted } from './harness.mjs';

// A client of one test, which destroys it: node ends when nothing is open.
function created(t, options, errors = []) {
    const client = createClient({ password, ...options });
    client.on('error', (error) => errors.push(error));
    t.after(() => client.isOpen && client.destroy());
    return client;
}

async function connected(t, options, errors) {
    const client = created(t, options, errors);
    await client.connect();
    return client;
}

const unix = { socket: { path: socket } };
const tcp = { socket: { host: '127.0.0.1', port } };

for (const [transport, options] of [['unix', unix], ['tcp', tcp]])
    for (const RESP of [2, 3]) {
        const key = `words.${transport}.${RESP}`;

        test(`words over ${transport}, RESP${RESP}`, async (t) => {
            const client = await connected(t, { ...options, RESP });
            assert.equal(await client.ping(), 'PONG');
            assert.equal(await client.sAdd(key, ['1', '2', '3']), 3);
            assert.equal(await client.sAdd(key, '3'), 0);
            assert.deepEqual(sorted(await client.sMembers(key)), ['1', '2', '3']);
            assert.equal(await client.sIsMember(key, '2'), 1);
            assert.equal(await client.sIsMember(key, '9'), 0);
            assert.deepEqual(await client.smIsMember(key, ['1', '9']), [1, 0]);
            assert.equal(await client.sCard(key), 3);
            assert.equal(await client.sRem(key, ['1', '9']), 1);
            assert.equal(await client.exists([key, 'none']), 1);
            assert.equal(await client.type(key), 'set');
            assert.equal(await client.del(key), 1);
            assert.deepEqual(await client.sMembers(key), []);
            const hello = await client.hello();
            assert.equal(hello.proto, RESP);
                });

        test(`pipelines and transactions over ${transport}, RESP${RESP}`, async (t) => {
            const client = await connected(t, { ...options, RESP });
            const answers = await Promise.all(
                Array.from({ length: 5000 }, (_, i) => client.sAdd(`${key}.${i % 50}`, String(i))));
            assert.ok(answers.every((answer) => answer === 1));
            assert.equal(await client.sCard(`${key}.7`), 100);

            const [added, removed, members] = await client.multi().sAdd(key, ['1', '2']).sRem(key, '1').sMembers(key).exec();
            assert.deepEqual([added, removed, [...members]], [2, 1, ['2']]);
            const failed = await client.multi().sAdd(key, '5').sAdd(key, 'no number').sAdd(key, '6').execAsPipeline()
                .catch((error) => error);
            assert.match(failed.errorIndexes ? failed.replies[1].message : failed.message, /not an integer/);
            await assert.rejects(client.multi().sAdd(key, '7').addCommand(['NOSUCHWORD']).exec());
            assert.deepEqual(sorted(await client.sMembers(key)), ['2', '5', '6']);
                });
    }

test('keys and members of any bytes', async (t) => {
    const client = (await connected(t, unix)).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const key = Buffer.from([0, 255, 13, 10, 42]);
    assert.equal(await client.sAdd(key, '7'), 1);
    assert.deepEqual([...await client.sMembers(key)], [Buffer.from('7')]);
});

test('errors are ErrorReply', async (t) => {
    const client = await connected(t, unix);
    await assert.rejects(client.sAdd('k', 'x'), (error) => error instanceof ErrorReply &&
        error.message === 'ERR value is not an integer or out of range');
    await assert.rejects(client.sendCommand(['NOSUCHWORD']), ErrorReply);
    await assert.rejects(client.set('k', 'v'), ErrorReply);
    assert.equal(await client.ping(), 'PONG');

    const once = { ...tcp.socket, reconnectStrategy: false };
    await assert.rejects(created(t, { password: 'wrong', socket: once }).connect(), /WRONGPASS/);
    const none = created(t, { password: undefined, socket: once });
    await assert.rejects(none.connect().then(() => none.sAdd('k', '1')), /NOAUTH/);
});

test('what an operator asks', async (t) => {
    const client = await connected(t, { ...unix, name: 'routes' });
    assert.equal(await client.clientGetName(), 'routes');
    assert.ok(await client.clientId() > 0);
    assert.match(await client.info('keyspace'), /db0:keys=\d+/);
    assert.deepEqual({ ...await client.configGet('maxclients') }, { maxclients: '10000' });
    assert.ok((await client.commandCount()) > 20);
});

test('CLIENT INFO', async (t) => {
    const client = await connected(t, { ...unix, name: 'routes' });
    const info = await client.clientInfo();
    assert.deepEqual([info.name, info.db, info.libName], ['routes', 0, 'node-redis']);
    assert.equal(info.id, await client.clientId());
});

test('a daemon that dies and comes back', async (t) => {
    const errors = [];
    const client = await connected(t, { socket: { path: socket, reconnectStrategy: () => 20 } }, errors);
    assert.equal(await client.sAdd('reborn', '1'), 1);
    await control('kill');
    await eventually(async () => errors.length > 0);
    // Waits in the client until it is connected again; then the daemon may say LOADING for a moment, as Redis does.
    const queued = client.sAdd('reborn', '2').catch((error) => error.message);
    await control('start');
    const answer = await queued;
    if (answer !== 1) {
        assert.match(answer, /^LOADING /);
        assert.equal(await client.sAdd('reborn', '2'), 1);
    }
    assert.deepEqual(sorted(await client.sMembers('reborn')), ['1', '2']);
});
