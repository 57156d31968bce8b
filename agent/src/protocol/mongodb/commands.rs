//! The commands of MongoDB: only what is on the list is shown, as any other word may be anything.

/// The command that a word is, as it is spelt.
pub(super) fn known(word: &str) -> Option<&'static str> {
    COMMANDS.split(' ').find(|command| *command == word)
}

/// Those of MongoDB 8 and what older versions had, with the spellings that servers take, the most common
/// ones first.
const COMMANDS: &str = "\
    find insert update delete aggregate getMore hello ping isMaster ismaster findAndModify \
    findandmodify count distinct endSessions commitTransaction abortTransaction killCursors \
    bulkWrite saslStart saslContinue authenticate logout getnonce buildInfo buildinfo create drop \
    createIndexes dropIndexes deleteIndexes listCollections listDatabases listIndexes collMod \
    collStats collstats dbStats dbstats mapReduce mapreduce validate compact reIndex \
    dropDatabase renameCollection convertToCapped cloneCollectionAsCapped createSearchIndexes \
    dropSearchIndex listSearchIndexes updateSearchIndex explain serverStatus getParameter \
    setParameter getCmdLineOpts getLog getFreeMonitoringStatus setFreeMonitoring hostInfo top \
    whatsmyuri connectionStatus connPoolStats connPoolSync currentOp killOp killSessions \
    killAllSessions killAllSessionsByPattern refreshSessions startSession fsync fsyncUnlock \
    profile lockInfo netstat features listCommands dataSize dbHash dbhash driverOIDTest \
    filemd5 geoNear geoSearch group eval copydb clone cloneCollection getLastError getlasterror \
    getPrevError resetError forceerror createUser updateUser dropUser dropAllUsersFromDatabase \
    usersInfo grantRolesToUser revokeRolesFromUser createRole updateRole dropRole \
    dropAllRolesFromDatabase rolesInfo grantPrivilegesToRole revokePrivilegesFromRole \
    grantRolesToRole revokeRolesFromRole invalidateUserCache replSetGetStatus replSetGetConfig \
    replSetInitiate replSetReconfig replSetStepDown replSetFreeze replSetMaintenance \
    replSetSyncFrom replSetHeartbeat replSetRequestVotes replSetUpdatePosition \
    replSetResizeOplog replSetAbortPrimaryCatchUp replSetGetRBID appendOplogNote applyOps \
    addShard addShardToZone balancerStart balancerStop balancerStatus \
    balancerCollectionStatus checkShardingIndex cleanupOrphaned cleanupReshardCollection \
    clearJumboFlag configureCollectionBalancing enableSharding flushRouterConfig getShardMap \
    getShardVersion setShardVersion isdbgrid listShards mergeChunks moveChunk moveCollection \
    movePrimary moveRange refineCollectionShardKey removeShard removeShardFromZone \
    reshardCollection abortReshardCollection commitReshardCollection shardCollection \
    shardingState split splitChunk splitVector unshardCollection unsetSharding \
    updateZoneKeyRange analyzeShardKey configureQueryAnalyzer getDatabaseVersion medianKey \
    availableQueryOptions planCacheClear planCacheListFilters planCacheClearFilters \
    planCacheSetFilter setQuerySettings removeQuerySettings setIndexCommitQuorum \
    setDefaultRWConcern getDefaultRWConcern setFeatureCompatibilityVersion \
    setUserWriteBlockMode setClusterParameter getClusterParameter getAuditConfig \
    setAuditConfig logApplicationMessage logRotate rotateCertificates shutdown sleep \
    configureFailPoint whatsMyUri createView repairDatabase touch getDiagnosticData \
    coordinateCommitTransaction prepareTransaction voteCommitIndexBuild \
    transitionFromDedicatedConfigServer transitionToDedicatedConfigServer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known() {
        assert_eq!(known("find"), Some("find"));
        assert_eq!((known("swordfish"), known(""), known("Find")), (None, None, None));
    }
}
