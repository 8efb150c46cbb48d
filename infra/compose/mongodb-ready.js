// The health check: whether writes are taken. A new replica set has to be told who is in it first.
const admin = db.getSiblingDB("admin");
admin.auth("root", require("fs").readFileSync("/run/secrets/root_password", "utf8"));
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "faceid", members: [{ _id: 0, host: "mongodb:27017" }] });
}
quit(db.hello().isWritablePrimary ? 0 : 1);
