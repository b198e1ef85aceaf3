// What the two programs share: where lanemapd is, and how it is killed and started again by test_node.py, which listens
// on the socket CONTROL and answers each word with "done".
import assert from 'node:assert/strict';
import net from 'node:net';
import readline from 'node:readline';

export const socket = process.env.LANEMAPD_SOCKET;
export const port = Number(process.env.LANEMAPD_PORT);
export const password = process.env.LANEMAPD_PASSWORD;

export async function control(word) {
    const connection = net.connect(process.env.CONTROL);
    connection.write(word + '\n');
    for await (const line of readline.createInterface({ input: connection })) {
        assert.equal(line, 'done');
        connection.end();
        return;
    }
    throw new Error(`no answer to ${word}`);
}

// Calls what() until it gives something true; as a program that waits for its server.
export async function eventually(what) {
    const end = Date.now() + 20000;
    for (;;) {
        const value = await what().catch(() => undefined);
        if (value) return value;
        assert.ok(Date.now() < end, 'did not happen in time');
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

export const sorted = (members) => [...members].map(String).sort();
