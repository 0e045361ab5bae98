# The original IOHub as a client of an echo at 127.0.0.1:$PORT: submits messages of many
# sizes, and says "same" when each that is not empty has come back, in order and to the byte.
# An empty one is sent too; the original never reports those.
# Run: PORT=2525 gap -A -q --nointeract client.g
LoadPackage("io");;
hub := IOHub();;
peer := NewTCPConnection(hub, "127.0.0.1", Int(GAPInfo.SystemEnvironment.PORT));;
if peer = fail then Print("cannot connect\n"); QUIT_GAP(2); fi;
message := function(size)
  local text;
  text := List([1..size], i -> CHAR_INT((7 * i + QuoInt(i, 256) + size) mod 256));
  ConvertToStringRep(text);
  return text;
end;;
sent := List([1, 255, 256, 0, 65535, 65536, 1048576, 3], message);;
for text in sent do SubmitOutput(hub, peer, text); od;
sent := Filtered(sent, text -> Length(text) > 0);;
got := [];;
while Length(got) < Length(sent) and IsBound(hub!.connections[peer]) do
  if not DoIO(hub, false) then IO_select([], [], [], 0, 2000); fi;
  input := GetInput(hub, peer);
  while input <> false do
    Add(got, input[2]);
    input := GetInput(hub, peer);
  od;
od;
if got = sent then Print("same\n"); else Print("different: lengths ", List(got, Length), "\n"); fi;
Shutdown(hub);
QUIT_GAP(0);
