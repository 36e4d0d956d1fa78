import WebSocket from 'ws';

const [server, agent] = process.argv.slice(2);

function open(path, onMessage) {
  return new Promise((resolve) => {
    const socket = new WebSocket(server + path, { maxPayload: 16 << 20, perMessageDeflate: { threshold: 0 } });
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => onMessage(socket, data, isBinary));
    socket.on('close', resolve);
  });
}

let count = 0;
await open('/getCaseCount', (_, data) => { count = Number(data.toString()); });
for (let number = 1; number <= count; number += 1) {
  await open(`/runCase?case=${number}&agent=${agent}`, (socket, data, isBinary) => socket.send(data, { binary: isBinary }));
}
await open(`/updateReports?agent=${agent}`, () => {});
