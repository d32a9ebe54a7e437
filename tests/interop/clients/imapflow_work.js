// The work of clients.py with imapflow; a second session then asks by QRESYNC what it missed.
'use strict';
const fs = require('fs');
const { ImapFlow } = require('imapflow');

const given = JSON.parse(process.env.TASK);
const { box, other, third } = given;
const say = (step, facts) => console.log(JSON.stringify({ step, ...facts }));
const connect = async () => {
    const client = new ImapFlow({
        host: given.host, port: given.port, secure: true, auth: { user: given.user, pass: given.password },
        tls: { ca: fs.readFileSync(given.authority) }, logger: false, qresync: true, disableAutoIdle: true
    });
    await client.connect();
    return client;
};
const answer = () => new Promise(resolve => process.stdin.once('data', resolve));

async function main() {
    let client = await connect();
    await client.mailboxCreate(box);
    await client.mailboxCreate(other);
    await client.mailboxSubscribe(box);
    for (const number of [1, 2, 3]) {
        const text = given.message.replaceAll('{number}', number);
        await client.append(box, text, number === 1 ? ['$Kept'] : [], new Date(Date.UTC(2020, 1, number, 10)));
    }
    const list = await client.list();
    say('ready', { listed: list.map(one => one.path), subscribed: list.filter(one => one.subscribed).map(one => one.path) });
    await client.mailboxOpen(box);
    const heard = new Promise(resolve => client.on('exists', event => resolve(event.count)));
    client.idle();
    say('idling');
    say('heard', { exists: await heard });
    await client.messageFlagsAdd('1', ['\\Seen', '\\Flagged'], { uid: true });
    await client.messageFlagsAdd('2', ['$Label1'], { uid: true });
    await client.messageMove('2', other, { uid: true });
    await client.messageCopy('1', other, { uid: true });
    await client.messageDelete('3', { uid: true });
    await client.mailboxRename(other, third);
    const found = await client.fetchOne('1', { envelope: true, bodyStructure: true, flags: true, internalDate: true,
        bodyParts: ['TEXT'] }, { uid: true });
    const enabled = [...client.enabled];
    const known = { changedSince: client.mailbox.highestModseq, uidValidity: client.mailbox.uidValidity };
    say('done', { search: await client.search({ subject: 'number', flagged: true }, { uid: true }),
        subject: found.envelope.subject, text: found.bodyParts.get('text').toString(), day: found.internalDate.getUTCDate(),
        type: found.bodyStructure.type, enabled });
    await client.logout();

    say('away', {});
    await answer();
    client = await connect();
    const vanished = [];
    client.on('expunge', event => vanished.push(event.uid));
    const flags = [];
    client.on('flags', event => flags.push(event.uid));
    const mailbox = await client.mailboxOpen(box, { changedSince: known.changedSince.toString(), uidValidity: known.uidValidity });
    const changed = [];
    for await (const message of client.fetch('1:*', { flags: true, uid: true }, { uid: true, changedSince: known.changedSince })) {
        changed.push({ uid: message.uid, flags: [...message.flags].sort() });
    }
    say('back', { vanished, changed, flags, newer: mailbox.highestModseq > known.changedSince, qresync: !!mailbox.qresync });
    await client.logout();
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1); });
