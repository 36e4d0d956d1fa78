// `node node_peer.js serve`: an echo server, which prints its port. `node node_peer.js talk URL FILE`: a client, which
// sends the texts in a file of JSON, one after the other, and fails unless each comes back.
const { WebSocket, WebSocketServer } = require("ws");
const fs = require("fs");

const perMessageDeflate = { threshold: 0 };

if (process.argv[2] === "serve") {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate }, () =>
    console.log(server.address().port),
  );
  server.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
  process.stdin.on("end", () => process.exit(0)).resume();
} else {
  const texts = JSON.parse(fs.readFileSync(process.argv[4], "utf8"));
  const socket = new WebSocket(process.argv[3], { perMessageDeflate });
  let next = 0;
  socket.on("open", () => {
    console.log(socket.extensions);
    socket.send(texts[0]);
  });
  socket.on("message", (data) => {
    if (data.toString() !== texts[next]) process.exit(2);
    next += 1;
    if (next < texts.length) socket.send(texts[next]);
    else socket.close(1000);
  });
  socket.on("close", (code) => process.exit(code === 1000 && next === texts.length ? 0 : 3));
  socket.on("error", (error) => {
    console.error(error);
    process.exit(4);
  });
}
