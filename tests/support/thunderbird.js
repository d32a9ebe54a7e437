// What the tests let Thunderbird do; put in front of each script (thunderbird.py). An account is named by its number.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const LIMIT_MS = 20000;

const accountOf = number => MailServices.accounts.accounts[number];
const serverOf = number => accountOf(number).incomingServer;
const inboxOf = number => serverOf(number).rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const messagesOf = folder => [...folder.messages];

/** What condition gives once it is true. */
async function until(what, condition) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const found = condition();
    if (found) {
      return found;
    }
    if (Date.now() > end) {
      throw new Error("never came: " + what);
    }
    await new Promise(go => setTimeout(go, 50));
  }
}

/** Runs start(listener) and waits until the listener hears of the end. kind: an interface; ends: its method of the end. */
function ended(kind, ends, others, start) {
  return new Promise((go, no) => {
    const listener = { QueryInterface: ChromeUtils.generateQI([kind]) };
    for (const name of others) {
      listener[name] = () => null;
    }
    listener[ends] = (...words) => {
      const status = words.find(word => typeof word === "number" && word >= 0);
      status ? no(new Error(ends + ": status 0x" + status.toString(16))) : go();
    };
    start(listener);
  });
}

/** Asks the server for new mail and waits until the INBOX has `count` messages. */
async function fetchMail(number, count) {
  const server = serverOf(number);
  if (server.type === "imap") {
    server.performExpand(null);
    const inbox = await until("INBOX", () => inboxOf(number));
    inbox.QueryInterface(Ci.nsIMsgImapMailFolder);
    await ended("nsIUrlListener", "OnStopRunningUrl", ["OnStartRunningUrl"], l => inbox.updateFolderWithListener(null, l));
  } else {
    await ended("nsIUrlListener", "OnStopRunningUrl", ["OnStartRunningUrl"],
      l => MailServices.pop3.GetNewMail(null, l, inboxOf(number), server));
  }
  await until(count + " messages", () => messagesOf(inboxOf(number)).length >= count);
}

/** A message as Thunderbird reads it: octets as a string. */
function octetsOf(folder, header) {
  const uri = folder.getUriForMsg(header);
  return new Promise((go, no) => {
    let text = "";
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
      onStartRequest() {},
      onDataAvailable(request, stream, offset, count) {
        const input = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        input.setInputStream(stream);
        text += input.readBytes(count);
      },
      onStopRequest(request, status) {
        status === 0 ? go(text) : no(new Error("reading: status 0x" + status.toString(16)));
      },
    };
    MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "", false);
  });
}

const withSubject = (number, subject) => messagesOf(inboxOf(number)).find(one => one.mime2DecodedSubject === subject);

/** Moves a message into a new folder below the INBOX. */
async function moveToNew(number, subject, name) {
  const inbox = inboxOf(number);
  inbox.createSubfolder(name, null);
  const folder = await until("the folder", () => inbox.subFolders.find(one => one.name === name));
  await ended("nsIMsgCopyServiceListener", "onStopCopy", ["onStartCopy", "onProgress", "setMessageKey", "getMessageId"],
    l => MailServices.copy.copyMessages(inbox, [withSubject(number, subject)], folder, true, l, null, false));
  await until("the message in its folder", () => folder.getTotalMessages(false) === 1);
}

/** Writes a message and sends it, with a copy in Sent. */
async function send(number, to, subject, text) {
  const account = accountOf(number);
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { from: account.defaultIdentity.email, to, subject, body: text, fcc: serverOf(number).rootFolder.URI + "/Sent" });
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  Object.assign(params, { type: Ci.nsIMsgCompType.New, format: Ci.nsIMsgCompFormat.PlainText,
    identity: account.defaultIdentity, composeFields: fields });
  const compose = MailServices.compose.initCompose(params);
  await ended("nsIMsgSendListener", "onStopSending",
    ["onStartSending", "onSendProgress", "onSendNotPerformed", "onStatus", "onGetDraftFolderURI", "onTransportSecurityError"],
    l => {
      compose.addMsgSendListener(l);
      compose.sendMsg(Ci.nsIMsgCompDeliverMode.Now, account.defaultIdentity, account.key, null, null);
    });
}
